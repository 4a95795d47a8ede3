//! `snug file send`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};
use snug_client::{Client, Hasher, Sent, TransferError};
use snug_protocol::{Code, Command, FileCommand, FileName, FileOffer, FileRef, Target};

use super::Progress;
use super::archive::Archive;
use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::{environment, output};

/// Send files or folders; prints the id of each, under which it is fetched
///
/// A folder becomes one file, NAME.tar.zst. What breaks off goes on where it was when the same is sent again.
#[derive(Args)]
pub(crate) struct Send {
    /// A room with its #, or a person
    #[arg(value_name = "TARGET")]
    target: String,

    /// Files and folders; - for stdin
    #[arg(value_name = "PATH|-", required = true)]
    paths: Vec<PathBuf>,

    /// What it is to be called [default: its own name; stdin has none]
    #[arg(long)]
    name: Option<String>,

    /// The server knows the upload by this key: the same key goes on with it, also from stdin
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Send {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let target = connect::target(&self.target)?.into_owned();
        if (self.name.is_some() || self.key.is_some()) && self.paths.len() > 1 {
            return Err(Failure::new(Exit::Usage, "--name and --key are for one file: give one path"));
        }
        // What is wrong with a path is said before anything is sent.
        let sources = sources(&self.paths, self.name.as_deref())?;
        let (client, events) = connect::connect(common, Part::Carrier).await?;
        connect::tell_breaks(events);
        for source in sources {
            let name = source.name.to_string();
            let sent = send(&client, &target, source, self.key.as_deref(), common).await?;
            report(&sent, (&name, common))?;
        }
        Ok(())
    }
}

/// Sends files over a connection that there is, and gives their ids.
pub(crate) async fn send_paths(
    client: &Client,
    target: &Target<'_>,
    paths: &[PathBuf],
    common: &Common,
) -> Result<Vec<u64>, Failure> {
    let mut ids = Vec::new();
    for source in sources(paths, None)? {
        let name = source.name.to_string();
        let sent = send(client, target, source, None, common).await?;
        report(&sent, (&name, common))?;
        ids.push(sent.id);
    }
    Ok(ids)
}

/// Something to be sent.
struct Source {
    name: FileName<'static>,
    what: What,
}

enum What {
    File { path: PathBuf, size: u64 },
    Folder { path: PathBuf, name: String },
    Stdin,
}

fn sources(paths: &[PathBuf], name: Option<&str>) -> Result<Vec<Source>, Failure> {
    paths.iter().map(|path| source(path, name)).collect()
}

fn source(path: &Path, name: Option<&str>) -> Result<Source, Failure> {
    let wrong = |what: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("{}: {what}", output::visible(&path.display().to_string())))
    };
    let named = |own: String| -> Result<FileName<'static>, Failure> {
        match name {
            // What somebody asks for is taken as it is, or refused.
            Some(name) => FileName::parse(name).map(FileName::into_owned).map_err(|error| wrong(&error)),
            None => Ok(FileName::mend(&own)),
        }
    };
    if path.as_os_str() == "-" {
        let Some(name) = name else {
            return Err(Failure::new(Exit::Usage, "stdin has no name: give it one with --name"));
        };
        return Ok(Source { name: named(name.to_owned())?, what: What::Stdin });
    }
    let metadata = fs::metadata(path).map_err(|error| wrong(&error))?;
    let whole = fs::canonicalize(path).map_err(|error| wrong(&error))?;
    let own =
        whole.file_name().map_or_else(|| "files".to_owned(), |name| name.to_string_lossy().into_owned());
    if metadata.is_dir() {
        let name = named(format!("{own}.tar.zst"))?;
        return Ok(Source { name, what: What::Folder { path: whole, name: own } });
    }
    // Whether it can be read is known before anything is sent of it.
    fs::File::open(path).map_err(|error| wrong(&error))?;
    if !metadata.is_file() {
        return Err(wrong(
            &"it is no file and no folder; `snug file send TARGET - --name NAME <PATH` sends what comes out of it",
        ));
    }
    Ok(Source { name: named(own)?, what: What::File { path: whole, size: metadata.len() } })
}

impl Source {
    fn size(&self) -> Option<u64> {
        match self.what {
            What::File { size, .. } => Some(size),
            What::Folder { .. } | What::Stdin => None,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read + std::marker::Send>> {
        Ok(match &self.what {
            // No more than it had when it was offered: a file that grows meanwhile is sent as it was.
            What::File { path, size } => Box::new(fs::File::open(path)?.take(*size)),
            What::Folder { path, name } => Box::new(Archive::of(path.clone(), name.clone())?),
            What::Stdin => Box::new(io::stdin()),
        })
    }

    /// The media type, as far as the first bytes and the name tell.
    fn kind(&self) -> Option<String> {
        let What::File { path, .. } = &self.what else {
            return matches!(self.what, What::Folder { .. }).then(|| "application/zstd".to_owned());
        };
        let mut head = Vec::new();
        fs::File::open(path).ok()?.take(8_192).read_to_end(&mut head).ok()?;
        if let Some(known) = infer::get(&head) {
            return Some(known.mime_type().to_owned());
        }
        let is_text = !head.is_empty()
            && !head.contains(&0)
            && std::str::from_utf8(&head[..head.len().min(4_096)])
                .map_or_else(|error| error.error_len().is_none(), |_| true);
        is_text.then(|| "text/plain".to_owned())
    }

    /// What tells this source from another that is sent to the same place.
    fn mark(&self, target: &Target<'_>, common: &Common) -> Option<String> {
        let (path, size) = match &self.what {
            What::File { path, size } => (path, *size),
            What::Folder { path, .. } => (path, 0),
            What::Stdin => return None,
        };
        let changed = fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let server =
            common.server.as_ref().map(ToString::to_string).or_else(|| std::env::var("SNUG_SERVER").ok());
        let nick = environment::wanted_name(common);
        let mut hasher = Hasher::default();
        let all =
            format!("{path:?}\n{size}\n{changed}\n{}\n{server:?}\n{nick:?}\n{}", target.as_str(), self.name);
        hasher.update(all.as_bytes());
        Some(hasher.finish().to_string())
    }
}

async fn send(
    client: &Client,
    target: &Target<'_>,
    source: Source,
    key: Option<&str>,
    common: &Common,
) -> Result<Sent, Failure> {
    let kept = match key {
        Some(_) => None,
        None => source.mark(target, common).and_then(|mark| Kept::of(&mark)),
    };
    let key = key.map(str::to_owned).or_else(|| kept.as_ref().map(|kept| kept.key.clone()));
    let mut progress = Progress::new(source.name.as_str(), source.size(), common);
    let offer = || FileOffer {
        target: target.clone(),
        size: source.size(),
        hash: None,
        name: source.name.clone(),
        kind: source.kind().map(Into::into),
        key: key.clone().map(Into::into),
        re: None,
        relayed: "".into(),
    };
    let at = |error: io::Error| Failure::new(Exit::Usage, format!("{}: {error}", source.name));
    let mut sent = client.send_file(offer(), source.open().map_err(at)?, |done| progress.set(done)).await;
    if let Err(error) = &sent
        && has_changed(error)
        && !matches!(source.what, What::Stdin)
    {
        // What was sent before is of another time: from the beginning, then.
        give_up(client, &offer()).await?;
        sent = client.send_file(offer(), source.open().map_err(at)?, |done| progress.set(done)).await;
    }
    progress.finish();
    let sent = sent.map_err(|error| Failure::from(error).at(&output::visible(source.name.as_str())))?;
    if let Some(kept) = kept {
        kept.forget();
    }
    Ok(sent)
}

fn has_changed(error: &TransferError) -> bool {
    match error {
        TransferError::Changed => true,
        TransferError::Request(snug_client::RequestError::Refused { code, .. }) => {
            *code == Code::HashMismatch.word() || *code == Code::BadOffset.word()
        }
        TransferError::Disk(error) => error.kind() == io::ErrorKind::Other,
        _ => false,
    }
}

/// Gives the upload of an offer's key up.
async fn give_up(client: &Client, offer: &FileOffer<'_>) -> Result<(), Failure> {
    let answer = client.ask(Command::File(FileCommand::Offer(offer.clone()))).await?;
    let line = answer.ok.line();
    if let snug_protocol::Body::Ok { params: Some(params), .. } = line.body
        && let Some(Ok(handle)) = params.split(' ').nth(1).map(str::parse)
    {
        client.ask(Command::File(FileCommand::Cancel { of: FileRef::Upload(handle) })).await?;
    }
    Ok(())
}

fn report(sent: &Sent, (name, common): (&str, &Common)) -> Result<(), Failure> {
    let (id, size, hash) = (sent.id.to_string(), sent.size, sent.hash);
    let line = if common.json {
        format!(
            "{{\"type\":\"sent\",\"id\":{id},\"size\":{size},\"sha256\":\"{hash}\",\"resumed\":{}}}",
            sent.resumed
        )
    } else if common.is_chat {
        format!("* {} is sent: {id}", output::visible(name))
    } else {
        id
    };
    match output::print(&line) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The key of an upload, kept until it is complete: the next try goes on with it.
struct Kept {
    key: String,
    path: PathBuf,
}

impl Kept {
    /// The key that is kept under a mark, or a new one. There is none without a place to keep it.
    fn of(mark: &str) -> Option<Kept> {
        let folder = environment::state_folder()?.join("uploads");
        fs::create_dir_all(&folder).ok()?;
        let path = folder.join(&mark[..32]);
        if let Ok(key) = fs::read_to_string(&path)
            && !key.is_empty()
        {
            return Some(Kept { key, path });
        }
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&path, &key).ok()?;
        Some(Kept { key, path })
    }

    fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
