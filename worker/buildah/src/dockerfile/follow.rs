//! The output of a Dockerfile build, and what is learnt of it on the way.

use std::{io, process::ExitStatus};

use slipway_backend::output::{Output, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::steps::Steps;
use crate::{
    enclosure::{Enclosed, Streams},
    noise::Noise,
};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// Bytes kept of what is complained of last.
const KEPT: usize = 64 * 1024;

/// What became of a build.
pub(super) struct Ended {
    /// How the program ended.
    pub(super) status: ExitStatus,
    /// What it complained of last.
    pub(super) complaint: String,
    /// The last lines of output.
    pub(super) tail: Vec<String>,
}

/// Follows a build to its end, and takes out what it says of its steps when that is so many of ours.
pub(super) async fn follow(running: Enclosed, streams: Streams, mut output: Output, steps: usize) -> io::Result<Ended> {
    let Streams { output: Some(mut out), error: Some(mut err), .. } = streams else {
        return Err(io::Error::other("it was started without pipes"));
    };
    let (mut noise, mut complaint, mut steps) = (Noise::default(), Vec::new(), Steps::new(steps));
    let (mut of_out, mut of_err) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            read = read(&mut out, &mut of_out), if out_open => match read? {
                [] => out_open = false,
                bytes => output.push(Stream::Out, &steps.push(bytes)).await,
            },
            read = read(&mut err, &mut of_err), if err_open => match read? {
                [] => err_open = false,
                bytes => {
                    complaint.extend_from_slice(bytes);
                    complaint.drain(..complaint.len().saturating_sub(KEPT));
                    output.push(Stream::Err, &noise.push(bytes)).await;
                }
            },
        }
    }
    output.push(Stream::Out, &steps.release()).await;
    let status = running.ended().await?;
    if status.success() {
        output.push(Stream::Err, &noise.release()).await;
    }
    let (_, tail) = output.finish().await;
    Ok(Ended { status, complaint: String::from_utf8_lossy(&complaint).into_owned(), tail })
}

async fn read<'a>(from: &mut (impl AsyncRead + Unpin), to: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let count = from.read(to).await?;
    Ok(&to[..count])
}
