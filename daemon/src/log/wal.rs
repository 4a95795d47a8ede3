//! Checks whether SQLite will recover all of a write-ahead log. SQLite stops silently at the first frame with a wrong
//! checksum. That is right for a frame that was half written when the power failed, but a silent loss if a byte was
//! flipped.
//!
//! The format is <https://sqlite.org/fileformat.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME: usize = 24;

/// Returns how many transactions lie at or after the first damaged frame. One may have been half written when the
/// machine went down, before anyone was told of it; two cannot.
///
/// # Errors
/// The file cannot be read.
pub(super) fn lost_commits(path: &Path) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 16, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? || header.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let magic = word(&header, 0);
    let is_big_endian = magic & 1 == 1;
    let mut sum = checksum(is_big_endian, (0, 0), &header[..24]);
    let has_header = magic & !1 == 0x377f_0682 && sum == (word(&header, 24), word(&header, 28));
    let page_size = usize::try_from(word(&header, 8)).unwrap_or(0);
    if !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
        // Without the page size, the frames cannot be read.
        return Ok(u64::from(!has_header) * 2);
    }
    let salts = header[16..24].to_vec();
    let mut frame = vec![0; FRAME + page_size];
    let mut is_sound = has_header;
    let mut lost = 0;
    while fill(&mut file, &mut frame)? {
        let has_salts = frame[8..16] == salts[..];
        if is_sound {
            sum = checksum(is_big_endian, sum, &frame[..8]);
            sum = checksum(is_big_endian, sum, &frame[FRAME..]);
            is_sound = has_salts && sum == (word(&frame, 16), word(&frame, 20));
        }
        let is_commit = word(&frame, 4) > 0;
        lost += u64::from(!is_sound && has_salts && is_commit);
    }
    // A running daemon may have restarted the file meanwhile.
    let mut now = [0; HEADER];
    let is_same = fill(&mut File::open(path)?, &mut now)? && now == header;
    Ok(if is_same { lost } else { 0 })
}

/// Fills `buffer` and returns true, or returns false if the file ends first.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum(is_big_endian: bool, start: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let read = |at: &[u8]| {
        let word = [at[0], at[1], at[2], at[3]];
        if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    bytes.chunks_exact(8).fold(start, |(first, second), pair| {
        let first = first.wrapping_add(read(&pair[..4])).wrapping_add(second);
        (first, second.wrapping_add(read(&pair[4..])).wrapping_add(first))
    })
}
