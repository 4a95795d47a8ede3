//! `snug export`: everything that was said in a room or with a person, as one document.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use snug_protocol::{Body, Command, Cursor, EntryKind, Page, ServerLine, Target, Timestamp};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::Failure;
use crate::history::{ask, id_of, next};
use crate::{output, show};

/// Write everything that was said in a room or with a person
#[derive(Args)]
pub(crate) struct Export {
    /// A room with its #, or a person
    #[arg(value_name = "TARGET")]
    target: String,

    /// txt to read, html to read and print, jsonl for programs (with edits, deletions and reactions as entries)
    #[arg(long, value_name = "FORMAT", default_value = "txt")]
    format: Format,

    /// Write to FILE, which is replaced when everything is there [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Txt,
    Jsonl,
    Html,
}

impl Export {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let target = connect::target(&self.target)?.into_owned();
        let (client, events) = connect::connect(common, Part::Asker).await?;
        drop(events);
        // Only what there is now: a busy room would never come to an end.
        let last = ask(&client, &target, Page::Latest, 1).await?;
        let last = last.rows.last().and_then(id_of).unwrap_or(0);
        let progress = progress(last);
        let part = self.output.as_ref().map(|path| {
            let mut part = path.clone().into_os_string();
            part.push(".part");
            PathBuf::from(part)
        });
        let sink: Box<dyn Write> = match &part {
            Some(part) => {
                let failed = |error: io::Error| Failure::from(error).at(&part.display().to_string());
                Box::new(File::create(part).map_err(failed)?)
            }
            None => Box::new(io::stdout().lock()),
        };
        let mut document = Document { out: BufWriter::new(sink), format: self.format, day: None };
        document.begin(&target, &topic(&client, &target).await)?;
        let mut page = Page::After(Cursor::at(0));
        loop {
            let answer = ask(&client, &target, page, 1_000).await?;
            for row in &answer.rows {
                let line = row.line();
                if line.id().is_none_or(|id| id <= last) {
                    document.line(&line)?;
                }
                progress.set_position(line.id().unwrap_or(0).min(last));
            }
            match next(&answer) {
                Some(cursor) if cursor.id < last => page = Page::After(cursor),
                _ => break,
            }
        }
        document.end()?;
        progress.finish_and_clear();
        if let (Some(part), Some(path)) = (part, self.output) {
            std::fs::rename(part, path)?;
        }
        Ok(())
    }
}

/// A bar for people who watch; entries up to `last` are to come.
fn progress(last: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent} % {eta}");
    let bar = ProgressBar::with_draw_target(Some(last), ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What a room is about; empty for people, and where nothing is said about it.
async fn topic(client: &snug_client::Client, target: &Target<'static>) -> String {
    let Target::Room(room) = target else { return String::new() };
    let ask = Command::Topic { room: room.clone(), change: snug_protocol::TopicChange::Ask, key: None };
    let Ok(answer) = client.ask(ask).await else { return String::new() };
    let text = answer.rows.first().and_then(|row| match row.line().body {
        Body::Entry { text, .. } => text.map(|text| text.into_owned()),
        _ => None,
    });
    text.unwrap_or_default()
}

/// A document that is being written.
struct Document<W: Write> {
    out: BufWriter<W>,
    format: Format,
    /// The day of the last line in HTML.
    day: Option<String>,
}

/// What HTML begins with: it stands alone, follows the reader's colours, and breaks no message over two pages.
const STYLE: &str = "
:root { color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif }
body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { font-size: 1rem; border-bottom: 1px solid; margin: 2rem 0 .5rem; break-after: avoid }
p { margin: .25rem 0; display: grid; grid-template-columns: 4.5rem 9rem 1fr; gap: .75rem; break-inside: avoid }
time, .note { opacity: .65; font-variant-numeric: tabular-nums }
b { overflow-wrap: anywhere } span { white-space: pre-wrap; overflow-wrap: anywhere }
@media print { :root { font-size: 10pt; color-scheme: light } body { max-width: none; margin: 0 } }
";

impl<W: Write> Document<W> {
    fn begin(&mut self, target: &Target<'_>, topic: &str) -> io::Result<()> {
        if !matches!(self.format, Format::Html) {
            return Ok(());
        }
        let (title, topic) = (html(target.as_str()), html(topic));
        write!(
            self.out,
            "<!doctype html>\n<html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <h1>{title}</h1>\n<div class=\"note\">{topic}</div>\n"
        )
    }

    fn line(&mut self, line: &ServerLine<'_>) -> io::Result<()> {
        match self.format {
            Format::Jsonl => match show::as_json(line) {
                Some(object) => writeln!(self.out, "{}", output::json(object)),
                None => self.gap(line),
            },
            Format::Txt => match (is_told(line), show::said(line), line.time()) {
                (true, Some(said), Some(time)) => writeln!(self.out, "{} {said}", output::full(time)),
                _ => self.gap(line),
            },
            Format::Html => match (is_told(line), line.time()) {
                (true, Some(time)) => self.paragraph(line, time),
                _ => self.gap(line),
            },
        }
    }

    fn paragraph(&mut self, line: &ServerLine<'_>, time: Timestamp) -> io::Result<()> {
        let (day, clock) = (output::day(time), output::clock(time));
        if self.day.as_ref() != Some(&day) {
            writeln!(self.out, "<h2>{day}</h2>")?;
            self.day = Some(day);
        }
        let Body::Entry { kind, text, .. } = &line.body else { return Ok(()) };
        let text = text.as_deref().unwrap_or_default();
        let said = match kind {
            EntryKind::Topic if text.is_empty() => "<span class=\"note\">cleared the topic</span>".to_owned(),
            EntryKind::Topic => format!("<span><i>topic:</i> {}</span>", html(text)),
            _ => format!("<span>{}<i class=\"note\">{}</i></span>", html(text), html(&show::fate(line))),
        };
        let from = html(line.from.unwrap_or_default());
        writeln!(self.out, "<p><time>{clock}</time><b>{from}</b>{said}</p>")
    }

    fn gap(&mut self, line: &ServerLine<'_>) -> io::Result<()> {
        let Body::Gap { from, to, .. } = line.body else { return Ok(()) };
        let text = format!("entries {from} to {to} are not there any more");
        match self.format {
            Format::Txt => writeln!(self.out, "({})", output::visible(&text)),
            Format::Html => writeln!(self.out, "<p class=\"note\">{}</p>", html(&text)),
            Format::Jsonl => {
                let fields = [("type", "gap"), ("first", from), ("last", to)];
                let object = fields.map(|(name, value)| (name.to_owned(), value.into()));
                writeln!(self.out, "{}", output::json(object.into_iter().collect()))
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if matches!(self.format, Format::Html) {
            writeln!(self.out, "</html>")?;
        }
        self.out.flush()
    }
}

/// Whether people read it: what became of a message is told with the message.
fn is_told(line: &ServerLine<'_>) -> bool {
    matches!(line.body, Body::Entry { about: None, .. })
}

/// Text for HTML.
fn html(text: &str) -> String {
    let visible: Vec<String> = text.split('\n').map(output::visible).collect();
    visible.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(format: Format, lines: &[&str]) -> String {
        let mut written = Vec::new();
        let mut document = Document { out: BufWriter::new(&mut written), format, day: None };
        let target = Target::parse("#ops").expect("a room");
        document.begin(&target, "a < b").expect("memory");
        for line in lines {
            document.line(&ServerLine::parse(line).expect("a line")).expect("memory");
        }
        document.end().expect("memory");
        drop(document);
        String::from_utf8(written).expect("UTF-8")
    }

    const LINES: [&str; 4] = [
        "GAP #ops 1 6",
        "@id=7;time=2026-11-21T10:15:07.020Z;edited=8 :alice MSG #ops <b>one</b>\\ntwo",
        "@id=8;time=2026-11-21T10:15:08.020Z :alice EDIT #ops 7 <b>one</b>\\ntwo",
        "@id=9;time=2026-11-22T10:15:08.020Z;deleted=10 :bob MSG #ops",
    ];

    #[test]
    fn html_has_nothing_of_the_text_in_its_markup() {
        let document = document(Format::Html, &LINES);
        assert!(document.contains("<span>&lt;b&gt;one&lt;/b&gt;\ntwo<i class=\"note\"> (edited)</i></span>"));
        assert!(document.contains("a &lt; b") && document.contains("entries 1 to 6 are not there any more"));
        assert_eq!(document.matches("<h2>").count(), 2, "{document}");
        assert_eq!(document.matches("<p>").count(), 2, "{document}");
        assert!(document.contains("(deleted)"));
    }

    /// Words of a server that means no good, at each place of each line that it could send.
    fn malicious() -> impl Iterator<Item = String> {
        const TRICKS: [&str; 5] =
            ["<img/src=x/onerror=alert(1)>", "\",\"a\":\"b", "\u{1b}]0;x\u{7}", "\u{202e}gnp", "-rf"];
        const VERBS: [&str; 12] = [
            "MSG",
            "PRIV",
            "TOPIC",
            "EDIT",
            "REACT",
            "SET",
            "FILE OFFER",
            "GAP",
            "READ",
            "DELIVERED",
            "NICK",
            "STATUS",
        ];
        TRICKS.into_iter().flat_map(|trick| {
            VERBS.into_iter().flat_map(move |verb| {
                let words = ["#ops", "7", "8"].map(str::to_owned);
                (0..5).map(move |place| {
                    let mut words = words.clone();
                    let mut from = "alice".to_owned();
                    let mut tags = "id=7;time=2026-11-21T10:15:07.020Z".to_owned();
                    match place {
                        3 => from = trick.to_owned(),
                        4 => tags += &format!(";title={trick};size={trick};edited={trick}"),
                        place => words[place] = trick.to_owned(),
                    }
                    format!("@{tags} :{from} {verb} {}", words.join(" "))
                })
            })
        })
    }

    #[test]
    fn a_malicious_server_gets_nothing_into_another_syntax() {
        let is_tricky = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
        for line in malicious() {
            let Some(parsed) = ServerLine::parse(&line) else { continue };
            let mut written = Vec::new();
            for format in [Format::Html, Format::Txt, Format::Jsonl] {
                let mut document = Document { out: BufWriter::new(&mut written), format, day: None };
                document.line(&parsed).expect("memory");
                document.end().expect("memory");
            }
            let written = String::from_utf8(written).expect("UTF-8");
            let shown = show::as_text(&parsed).unwrap_or_default();
            assert!(
                !written.contains(is_tricky) && !shown.contains(is_tricky),
                "{line:?}: {written:?} {shown:?}"
            );
            let markup = written.lines().filter(|line| line.starts_with("<p"));
            assert!(markup.into_iter().all(|line| !line.contains("<img")), "{line:?}: {written}");
            for object in written.lines().filter(|line| line.starts_with('{')) {
                let object: serde_json::Value = serde_json::from_str(object).expect("JSON");
                assert!(object.get("a").is_none(), "{line:?}: {object}");
            }
        }
    }

    #[test]
    fn programs_get_every_entry() {
        let document = document(Format::Jsonl, &LINES);
        let kinds: Vec<String> = document
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["type"].to_string())
            .collect();
        assert_eq!(kinds, ["\"gap\"", "\"msg\"", "\"edit\"", "\"msg\""]);
    }
}
