//! `snug file get`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use clap::Args;
use snug_client::{Client, FileInfo, Hasher, TransferError};
use snug_protocol::Cursor;

use super::Progress;
use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Fetch a file; goes on where an earlier try broke off
///
/// The file gets its name when all of it is there and is what was sent. Prints where it is.
#[derive(Args)]
pub(crate) struct Get {
    /// The file's id
    id: Cursor,

    /// Where to write it: a new file, a folder, or - for stdout [default: its own name, here]
    #[arg(long, short, value_name = "PATH|-")]
    output: Option<PathBuf>,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

impl Get {
    /// A file under its own name, in the current folder.
    pub(super) fn here(id: Cursor) -> Get {
        Get { id, output: None, force: false }
    }

    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (client, events) = connect::connect(common, Part::Carrier).await?;
        connect::tell_breaks(events);
        let info = client.accept_file(self.id).await?;
        let mut progress = Progress::new(info.name.as_str(), Some(info.size), common);
        if self.output.as_deref() == Some(Path::new("-")) {
            let done = client
                .fetch_file(&info, (0, Hasher::default()), io::stdout(), |done| progress.set(done))
                .await;
            progress.finish();
            return Ok(done?);
        }
        let is_named = self.output.as_ref().is_some_and(|path| !path.is_dir());
        let path = match self.output {
            None => PathBuf::from(harmless(info.name.as_str())),
            Some(path) if path.is_dir() => path.join(harmless(info.name.as_str())),
            Some(path) => path,
        };
        // A pipe or a device is written to only if it was named.
        let is_special =
            is_named && fs::metadata(&path).is_ok_and(|there| !there.is_file() && !there.is_dir());
        let done = if is_special {
            let sink = OpenOptions::new().write(true).open(&path).map_err(|error| at(&path, &error))?;
            client
                .fetch_file(&info, (0, Hasher::default()), sink, |done| progress.set(done))
                .await
                .map_err(Failure::from)
        } else {
            fetch_to(&client, &info, &path, self.force, &mut progress).await
        };
        progress.finish();
        done?;
        let path = path.display().to_string();
        let shown = match common.is_chat {
            true => format!("* {} is saved in {path}, and is what was sent", info.name),
            false => path.clone(),
        };
        let (id, size, hash) = (info.id.to_string(), info.size.to_string(), info.hash.to_string());
        let fields = [
            ("type", "received"),
            ("id", id.as_str()),
            ("path", &path),
            ("size", &size),
            ("sha256", &hash),
            ("from", &info.from),
        ];
        output::row(common.json, &fields, &shown)?;
        Ok(())
    }
}

/// Returns the name of a file that somebody else chose, as it may stand in a folder: no hidden file, which a shell or a
/// program might read by itself, and nothing that a command takes for an option.
fn harmless(name: &str) -> String {
    match name.chars().next() {
        Some('.' | '-') => format!("_{name}"),
        _ => name.to_owned(),
    }
}

/// Fetches a file into a part beside its place, and gives it its name at the end.
async fn fetch_to(
    client: &Client,
    info: &FileInfo,
    path: &Path,
    force: bool,
    progress: &mut Progress,
) -> Result<(), Failure> {
    if !force && fs::symlink_metadata(path).is_ok() {
        let text = format!("{} exists; give another name with -o, or --force", path.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    // Of the content, and not of the name: that may be as long as names can be.
    let part_path = path.with_file_name(format!(".snug-{}.part", &info.hash.to_string()[..16]));
    let failed = |error: io::Error| at(&part_path, &error);
    let mut part = open_part(&part_path).map_err(failed)?;
    if part.try_lock().is_err() {
        let text = format!("another snug is fetching it, into {}", part_path.display());
        return Err(Failure::new(Exit::TryAgain, text));
    }
    let there = part.metadata().map_err(failed)?.len();
    if there > info.size {
        part.set_len(0).map_err(failed)?;
    }
    let mut hasher = Hasher::default();
    let offset = hash_part(&mut part, &mut hasher).map_err(failed)?;
    let sink = part.try_clone().map_err(failed)?;
    let fetched = client.fetch_file(info, (offset, hasher), sink, |done| progress.set(done)).await;
    if let Err(error) = fetched {
        if matches!(error, TransferError::Mismatch { .. }) {
            // Nothing of it can be trusted.
            let _ = fs::remove_file(&part_path);
        }
        return Err(match error {
            TransferError::Disk(error) => failed(error),
            error => error.into(),
        });
    }
    part.sync_all().map_err(failed)?;
    put_in_place(&part_path, path, force).map_err(|error| at(path, &error))
}

/// Opens what an earlier try has left, or begins it. Everybody who sees the offer knows its name: what somebody else has put
/// there is not taken.
fn open_part(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        opened => return opened,
    }
    let part = options.open(path)?;
    let metadata = part.metadata()?;
    let is_own =
        metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == rustix::process::geteuid().as_raw();
    if is_own { Ok(part) } else { Err(io::Error::other("it is not what an earlier try has left; remove it")) }
}

/// Reads what an earlier try has left.
fn hash_part(part: &mut fs::File, hasher: &mut Hasher) -> io::Result<u64> {
    part.rewind()?;
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    loop {
        match part.read(&mut buffer)? {
            0 => return Ok(offset),
            count => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
            }
        }
    }
}

/// Gives the part its name, unless another file has it by now.
fn put_in_place(part: &Path, path: &Path, force: bool) -> io::Result<()> {
    if force {
        return fs::rename(part, path);
    }
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links: then looking first has to do.
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(part, path),
    }
}

fn at(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{}: {error}", path.display());
    Failure::new(Exit::Refused, text)
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_name_of_somebody_else_s_is_harmless() {
        for (name, taken) in [
            (".bash_profile", "_.bash_profile"),
            (".ssh", "_.ssh"),
            ("-rf", "_-rf"),
            ("report.pdf", "report.pdf"),
            ("a-b", "a-b"),
        ] {
            assert_eq!(harmless(name), taken);
        }
    }
}
