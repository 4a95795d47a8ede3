//! New lines of files and named pipes, as they are written.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::time::Duration;

use async_channel::Sender;
use smol::Timer;

/// How often a file is checked for new lines.
const EVERY: Duration = Duration::from_millis(250);

/// Maximum number of bytes that are read at a time, and of a line.
const AT_ONCE: usize = 64 << 10;

/// Watches a file, even if it is missing, truncated or rotated meanwhile. Skips the lines that it has at the start.
pub(super) async fn watch(path: String, room: String, lines: Sender<(String, String)>) {
    let mut watched = Watched { path, file: None, inode: 0, offset: 0, partial: Vec::new(), is_first: true };
    loop {
        let (back, found) = smol::unblock(move || {
            let found = watched.look();
            (watched, found)
        })
        .await;
        watched = back;
        let is_idle = found.is_empty();
        for line in found {
            if lines.send((room.clone(), line)).await.is_err() {
                return;
            }
        }
        if is_idle {
            Timer::after(EVERY).await;
        }
    }
}

struct Watched {
    path: String,
    file: Option<File>,
    inode: u64,
    offset: u64,
    partial: Vec<u8>,
    is_first: bool,
}

impl Watched {
    /// Returns the new lines.
    fn look(&mut self) -> Vec<String> {
        let Ok(metadata) = std::fs::metadata(&self.path) else {
            // A file that appears later is new from its beginning.
            (self.file, self.is_first) = (None, false);
            return Vec::new();
        };
        let is_pipe = metadata.file_type().is_fifo();
        let is_other = self.inode != metadata.ino() || (!is_pipe && metadata.len() < self.offset);
        if self.file.is_none() || is_other {
            let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let Ok(mut file) = OpenOptions::new().read(true).custom_flags(nonblocking).open(&self.path)
            else {
                return Vec::new();
            };
            (self.inode, self.offset) = (metadata.ino(), 0);
            if self.is_first && !is_pipe {
                self.offset = file.seek(SeekFrom::End(0)).unwrap_or(0);
            }
            self.partial.clear();
            self.file = Some(file);
        }
        self.is_first = false;
        let Some(file) = &mut self.file else { return Vec::new() };
        let mut buffer = vec![0; AT_ONCE];
        let count = match file.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(_) => {
                self.file = None;
                0
            }
        };
        self.offset += count as u64;
        self.partial.extend_from_slice(&buffer[..count]);
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        if self.partial.len() > AT_ONCE {
            // A line that is too long is dropped.
            self.partial.clear();
        }
        lines
    }
}
