use tokio::sync::mpsc;

use super::*;

/// The lines that come out of `parts`, the command's line and the tail.
async fn lines(parts: &[(Stream, &[u8])]) -> (Vec<String>, Option<u32>, Vec<String>) {
    lines_without(&Masks::default(), parts).await
}

/// The same, masked.
async fn lines_without(masks: &Masks, parts: &[(Stream, &[u8])]) -> (Vec<String>, Option<u32>, Vec<String>) {
    let (logs, mut receiver) = mpsc::channel(10_000);
    let mut output = Output::new(logs, Some(Marker::new("tok")), masks);
    for (from, bytes) in parts {
        output.push(*from, bytes).await;
    }
    let (line, tail) = output.finish().await;
    let mut lines = Vec::new();
    while let Some(line) = receiver.recv().await {
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    (lines, line, tail)
}

#[tokio::test]
async fn lines_are_split_and_streams_kept_apart() {
    let parts: &[(Stream, &[u8])] =
        &[(Stream::Out, b"one\ntw"), (Stream::Err, b"error\r\n"), (Stream::Out, b"o\n10%\r90%\r100%\n\nend")];
    assert_eq!(lines(parts).await.0, ["one", "error", "two", "100%", "", "end"]);
}

#[tokio::test]
async fn markers_are_taken_out_wherever_they_stand() {
    let parts: &[(Stream, &[u8])] = &[
        (Stream::Out, b"\x1etok:12\x1e\nfirst\n"),
        (Stream::Out, b"no end\x1etok:1"),
        (Stream::Out, b"3\x1e\n, and on\n\x1eother:99\x1e\n"),
    ];
    let (lines, line, tail) = lines(parts).await;
    assert_eq!(lines, ["first", "no end, and on", "\x1eother:99\x1e"]);
    assert_eq!(line, Some(13));
    assert_eq!(tail, lines);
}

#[tokio::test]
async fn long_lines_are_cut_and_the_tail_is_bounded() {
    let long = vec![b'x'; 2 * MAX_LINE + 10];
    let mut parts: Vec<(Stream, &[u8])> = long.chunks(1000).map(|chunk| (Stream::Out, chunk)).collect();
    parts.push((Stream::Out, b"\n"));
    parts.extend(std::iter::repeat_n((Stream::Err, b"e\n".as_slice()), 30));
    let (lines, _, tail) = lines(&parts).await;
    assert_eq!(lines[..2].iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE]);
    assert_eq!(lines[2].len(), 10);
    assert_eq!(tail, vec!["e"; TAIL_LINES]);
}

#[tokio::test]
async fn secrets_are_masked_in_lines_and_in_the_tail_wherever_chunks_end() {
    let mut secrets = crate::Secrets::none();
    secrets.add("x", b"s3cret".to_vec());
    let parts: &[(Stream, &[u8])] = &[
        (Stream::Out, b"\x1etok:7\x1e\nsay s3c"),
        (Stream::Err, b"s3cr"),
        (Stream::Out, b"ret\nat the end: s3c"),
        (Stream::Err, b"et!\n"),
    ];
    let (lines, line, tail) = lines_without(&Masks::of(&secrets), parts).await;
    assert_eq!(lines, ["say ***", "***!", "at the end: s3c"]);
    assert_eq!((line, tail), (Some(7), lines));
}
