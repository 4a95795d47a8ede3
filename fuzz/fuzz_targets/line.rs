//! Any bytes: the decoder and the parsers do not panic, and what is written again reads back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snug_protocol::{Decoded, Line, LineDecoder, Request, ServerLine, announced_bytes, limits};

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how the stream is cut; any cut has to give the same.
    let (cut, stream) = bytes.split_first().map_or((1, bytes), |(first, rest)| (usize::from(*first).max(1), rest));
    let mut decoder = LineDecoder::new(limits::LINE);
    for mut piece in stream.chunks(cut) {
        while let Some(decoded) = decoder.next(&mut piece) {
            let Decoded::Line(text) = decoded else { continue };
            if let Some(line) = ServerLine::parse(text) {
                let mut written = Vec::new();
                line.write(&mut written);
                let written = std::str::from_utf8(&written).expect("UTF-8").trim_end_matches('\n');
                assert_eq!(ServerLine::parse(written).as_ref(), Some(&line));
            }
            let Ok(line) = Line::parse(text) else { continue };
            if let Ok(request) = Request::parse(&line) {
                let mut written = Vec::new();
                request.write(&mut written);
                let written = std::str::from_utf8(&written).expect("UTF-8").trim_end_matches('\n');
                let again = Line::parse(written).expect("what was written follows the grammar");
                assert_eq!(Request::parse(&again), Ok(request));
            }
            if let Ok(Some(count)) = announced_bytes(line.tags) {
                decoder.expect_bytes(count);
            }
        }
    }
});
