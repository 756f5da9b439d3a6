//! Whether rules stand, asked of the kernel: starting a program for it takes longer than running a small command.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::NETFILTER, recv, send, socket_with,
};

use super::netlink::attribute;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETRULE`.
const GET_RULE: u16 = 10 << 8 | 7;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x0301;
/// `NFTA_RULE_TABLE`, `NFTA_RULE_CHAIN`.
const TABLE: u16 = 1;
const CHAIN: u16 = 2;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// The kernel sends at most this much at once.
const CHUNK: usize = 32 * 1024;

/// Whether a rule of a chain leads to the chain `to`. `false` also where rules are kept in the older way.
pub(super) fn leads(table: &str, chain: &str, to: &str) -> io::Result<bool> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
    send(&socket, &question(table, chain), SendFlags::empty())?;
    let named = text(to);
    let (mut buffer, mut found) = (vec![0_u8; CHUNK], false);
    loop {
        let (count, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..count];
        while let Some((kind, message, further)) = next(rest) {
            match kind {
                DONE => return Ok(found),
                // There is no such table or chain.
                ERROR => return Ok(false),
                // The name of a chain in a rule is where it leads.
                _ => found |= message.windows(named.len()).any(|part| part == named),
            }
            rest = further;
        }
        if count == 0 {
            return Ok(false);
        }
    }
}

fn question(table: &str, chain: &str) -> Vec<u8> {
    let mut body = vec![IPV4, 0, 0, 0];
    attribute(&mut body, TABLE, &text(table));
    attribute(&mut body, CHAIN, &text(chain));
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(GET_RULE.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Kind and body of the first message, and the messages behind it.
fn next(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| (16..=bytes.len()).contains(length))?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let end = length.next_multiple_of(4).min(bytes.len());
    Some((kind, &bytes[16..length], &bytes[end..]))
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart() {
        let mut bytes = Vec::new();
        for (kind, body) in [(7_u16, b"abcde".as_slice()), (DONE, b"")] {
            bytes.extend((16 + body.len() as u32).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let (kind, body, rest) = next(&bytes).expect("a message");
        assert_eq!((kind, body), (7, b"abcde".as_slice()));
        let (kind, body, rest) = next(rest).expect("a message");
        assert_eq!((kind, body, rest), (DONE, b"".as_slice(), b"".as_slice()));
        assert_eq!(next(rest), None);
        assert_eq!(next(&bytes[..18]), None);
    }

    #[test]
    fn what_is_not_there_leads_nowhere() {
        assert!(!leads("slipway-none", "FORWARD", "X").unwrap_or(false));
    }
}
