//! Texts as they may be shown: PROTOCOL.md, *How a text is shown*.
//!
//! A text is taken apart into pieces that cover it once and in order. No markup comes out of here: a client draws the pieces
//! as it can, and one that draws all of them as they stand is right as well.

use std::ops::Range;

use linkify::{LinkFinder, LinkKind};
use snug_protocol::{Nick, RoomName, is_deceptive};
use unicode_segmentation::UnicodeSegmentation;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands in the text, in bytes.
    pub range: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// How it is emphasised.
    pub style: Style,
}

/// What a part of a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words, blanks, and the ends of lines.
    Text,
    /// A sign that says how others are shown: it need not be shown itself.
    Mark,
    /// Code on one line.
    Code,
    /// A block of code, between its fences.
    Block {
        /// The language that the fence names.
        language: Option<String>,
    },
    /// A link.
    Link {
        /// Where it leads.
        url: String,
        /// The host, where the words of the link look like another address.
        warning: Option<String>,
    },
    /// Somebody's name.
    Mention {
        /// Whether it is the reader's own.
        me: bool,
    },
    /// A room's name.
    Room,
    /// An emoji.
    Emoji,
    /// A character that would not be seen, or turns text around: it is shown as a sign.
    Sign(char),
}

/// How a part of a text is emphasised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each of them may be there without the others")]
pub struct Style {
    /// Between two `**`.
    pub bold: bool,
    /// Between two `*` or `_`.
    pub italic: bool,
    /// Between two `~~`.
    pub struck: bool,
    /// Behind a `> `.
    pub quote: bool,
}

/// The most emoji that are shown large, when they are all that a text has.
const LARGE: usize = 3;

/// Takes a text apart, for a reader with this nick.
///
/// ```
/// use snug_chat::rich::{Kind, pieces};
///
/// let text = "see **this**: https://snug.example";
/// let pieces = pieces(text, "alice");
/// let shown: Vec<&str> =
///     pieces.iter().filter(|piece| piece.kind != Kind::Mark).map(|piece| &text[piece.range.clone()]).collect();
/// assert_eq!(shown, ["see ", "this", ": ", "https://snug.example"]);
/// assert!(pieces[2].style.bold);
/// ```
pub fn pieces(text: &str, own_nick: &str) -> Vec<Piece> {
    let mut scanner = Scanner { text, own_nick, finder: finder(), pieces: Vec::new() };
    let lines: Vec<Range<usize>> = lines(text);
    // For each line, where the next one is that closes a block.
    let mut next_fence = vec![None; lines.len()];
    let mut fence = None;
    for (at, line) in lines.iter().enumerate().rev() {
        next_fence[at] = fence;
        if content(text, line) == FENCE {
            fence = Some(at);
        }
    }
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let opening = content(text, line).strip_prefix(FENCE).filter(|language| is_language(language));
        if let (Some(language), Some(end)) = (opening, next_fence[at]) {
            let language = Some(language).filter(|language| !language.is_empty()).map(str::to_owned);
            scanner.push(line.clone(), Kind::Mark, Style::default());
            scanner.push(line.end..lines[end].start, Kind::Block { language }, Style::default());
            scanner.push(lines[end].clone(), Kind::Mark, Style::default());
            at = end + 1;
            continue;
        }
        scanner.line(line.clone());
        at += 1;
    }
    scanner.pieces
}

/// Returns whether a text is nothing but one to three emoji, which are shown large.
pub fn is_large(text: &str) -> bool {
    let mut count = 0;
    for cluster in text.graphemes(true).filter(|cluster| !cluster.trim().is_empty()) {
        count += 1;
        if count > LARGE || emojis::get(cluster).is_none() {
            return false;
        }
    }
    count > 0
}

const FENCE: &str = "```";

fn is_language(word: &str) -> bool {
    word.len() <= 32
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'#' | b'.' | b'_' | b'-'))
}

/// The lines of a text, each with its end.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut from = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        lines.push(from..from + line.len());
        from += line.len();
    }
    lines
}

/// A line without its end.
fn content<'t>(text: &'t str, line: &Range<usize>) -> &'t str {
    let line = &text[line.clone()];
    line.strip_suffix('\n').unwrap_or(line)
}

fn finder() -> LinkFinder {
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]);
    finder
}

fn is_allowed(url: &str) -> bool {
    ["http://", "https://", "mailto:", "snug://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            && url.len() > scheme.len()
    })
}

/// The host of a link.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// What stands at a place of a line and is not looked into for emphasis.
struct Atom {
    range: Range<usize>,
    /// The part that is shown: a link's words, code without its backticks.
    shown: Range<usize>,
    kind: Kind,
}

struct Scanner<'t> {
    text: &'t str,
    own_nick: &'t str,
    finder: LinkFinder,
    pieces: Vec<Piece>,
}

impl Scanner<'_> {
    /// Adds a piece, and makes it one with the last where they are alike.
    fn push(&mut self, range: Range<usize>, kind: Kind, style: Style) {
        if range.is_empty() {
            return;
        }
        if let Some(last) = self.pieces.last_mut()
            && kind == Kind::Text
            && last.kind == Kind::Text
            && last.style == style
        {
            last.range.end = range.end;
            return;
        }
        self.pieces.push(Piece { range, kind, style });
    }

    fn line(&mut self, line: Range<usize>) {
        let end = line.start + content(self.text, &line).len();
        let mut from = line.start;
        let mut style = Style::default();
        if self.text[from..end].starts_with("> ") {
            style.quote = true;
            self.push(from..from + 2, Kind::Mark, style);
            from += 2;
        }
        let atoms = self.atoms(from..end);
        let marks = self.marks(from..end, &atoms);
        let (mut at, mut atoms, mut marks) =
            (from, atoms.into_iter().peekable(), marks.into_iter().peekable());
        while at < end {
            let next_atom = atoms.peek().map_or(end, |atom| atom.range.start);
            let next_mark = marks.peek().map_or(end, |(range, ..)| range.start);
            let next = next_atom.min(next_mark);
            self.words(at..next, style);
            if let Some(atom) = atoms.next_if(|atom| atom.range.start == next) {
                self.push(atom.range.start..atom.shown.start, Kind::Mark, style);
                self.push(atom.shown.clone(), atom.kind, style);
                self.push(atom.shown.end..atom.range.end, Kind::Mark, style);
                at = atom.range.end;
            } else if let Some((range, emphasis, opens)) = marks.next() {
                self.push(range.clone(), Kind::Mark, style);
                *emphasis.of(&mut style) = opens;
                at = range.end;
            } else {
                at = end;
            }
        }
        self.push(end..line.end, Kind::Text, Style::default());
    }

    /// Finds code and links of a line, in order.
    fn atoms(&self, line: Range<usize>) -> Vec<Atom> {
        let text = &self.text[line.clone()];
        let mut atoms = Vec::new();
        let bytes = text.as_bytes();
        let mut links = self.finder.links(text).filter(|link| is_allowed(link.as_str())).peekable();
        // Where there is none behind a place, there is none behind a later one.
        let (mut no_tick, mut no_bracket) = (false, false);
        let mut at = 0;
        while at < bytes.len() {
            while links.next_if(|link| link.start() < at).is_some() {}
            if let Some(link) = links.next_if(|link| link.start() == at) {
                let range = line.start + link.start()..line.start + link.end();
                let kind = Kind::Link { url: link.as_str().to_owned(), warning: None };
                atoms.push(Atom { shown: range.clone(), range, kind });
                at = link.end();
                continue;
            }
            match bytes[at] {
                b'`' if !no_tick => match text[at + 1..].find('`') {
                    None => no_tick = true,
                    Some(0) => at += 1,
                    Some(length) => {
                        let range = line.start + at..line.start + at + length + 2;
                        let shown = range.start + 1..range.end - 1;
                        atoms.push(Atom { range, shown, kind: Kind::Code });
                        at += length + 1;
                    }
                },
                b'[' if !no_bracket => match text[at + 1..].find("](") {
                    None => no_bracket = true,
                    Some(length) => {
                        if let Some(atom) = named_link(text, at, at + 1 + length, line.start) {
                            at = atom.range.end - line.start - 1;
                            atoms.push(atom);
                        }
                    }
                },
                _ => {}
            }
            at += 1;
        }
        atoms
    }

    /// Finds the marks of emphasis of a line that have their second half, in order, outside of what is not looked into.
    fn marks(&self, line: Range<usize>, atoms: &[Atom]) -> Vec<(Range<usize>, Emphasis, bool)> {
        let text = &self.text[..line.end];
        let mut marks: Vec<(Range<usize>, Emphasis, bool)> = Vec::new();
        // Where each kind was opened, among the marks.
        let mut open: [Option<usize>; 4] = [None; 4];
        let mut matched = Vec::new();
        let mut atoms = atoms.iter().peekable();
        let mut at = line.start;
        while at < line.end {
            while atoms.next_if(|atom| atom.range.end <= at).is_some() {}
            if let Some(atom) = atoms.peek().filter(|atom| atom.range.start <= at) {
                at = atom.range.end;
                continue;
            }
            let Some(emphasis) = Emphasis::at(&text[at..]) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let range = at..at + emphasis.sign().len();
            let before = text[line.start..range.start].chars().next_back();
            let after = text[range.end..].chars().next();
            let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            let is_blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
            // Names such as __init__ are no emphasis.
            if emphasis == Emphasis::Underscore && [before, after].contains(&Some('_')) {
                at = range.end;
                continue;
            }
            let slot = emphasis as usize;
            let has_content = open[slot].is_some_and(|mark: usize| marks[mark].0.end < range.start);
            if !is_blank(before) && !is_word(after) && has_content {
                let mark = open[slot].take().unwrap_or_default();
                // What was opened within and is still open has no second half.
                for other in &mut open {
                    if other.is_some_and(|other| other > mark) {
                        *other = None;
                    }
                }
                matched.push(mark);
                matched.push(marks.len());
                marks.push((range.clone(), emphasis, false));
            } else if !is_blank(after) && !is_word(before) && open[slot].is_none() {
                open[slot] = Some(marks.len());
                marks.push((range.clone(), emphasis, true));
            }
            at = range.end;
        }
        matched.sort_unstable();
        matched.into_iter().map(|mark| marks[mark].clone()).collect()
    }

    /// Adds words: names, emoji and signs among them are pieces of their own.
    fn words(&mut self, range: Range<usize>, style: Style) {
        let mut from = range.start;
        let text = &self.text[range.clone()];
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '@' | '#' | '-' | '_' | '.');
        for (offset, word) in text.split_inclusive(|c: char| !is_part(c)).scan(0, |offset, word| {
            let at = *offset;
            *offset += word.len();
            Some((at, word))
        }) {
            let at = range.start + offset;
            let name = word.trim_end_matches(|c: char| !is_part(c)).trim_end_matches(['.', '-']);
            let before = self.text[..at].chars().next_back();
            if let Some(kind) = self.name(name).filter(|_| !before.is_some_and(is_part)) {
                self.clusters(from..at, style);
                self.push(at..at + name.len(), kind, style);
                from = at + name.len();
            }
        }
        self.clusters(from..range.end, style);
    }

    /// What a word is, if it is a name.
    fn name(&self, word: &str) -> Option<Kind> {
        if word.starts_with('#') {
            return RoomName::parse(word).ok().map(|_| Kind::Room);
        }
        let (bare, is_called) = word.strip_prefix('@').map_or((word, false), |bare| (bare, true));
        let nick = Nick::parse(bare).ok()?;
        let me = Nick::parse(self.own_nick).is_ok_and(|own| own.fold() == nick.fold());
        (is_called || me).then_some(Kind::Mention { me })
    }

    /// Adds text in which emoji and signs are pieces of their own.
    fn clusters(&mut self, range: Range<usize>, style: Style) {
        let text = &self.text[range.clone()];
        if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return self.push(range, Kind::Text, style);
        }
        for (offset, cluster) in text.grapheme_indices(true) {
            let at = range.start + offset;
            if emojis::get(cluster).is_some() && !cluster.is_ascii() {
                self.push(at..at + cluster.len(), Kind::Emoji, style);
                continue;
            }
            for (inner, c) in cluster.char_indices() {
                let at = at + inner;
                let is_sign = (c.is_control() && c != '\t') || (is_deceptive(c) && c != '\u{200d}');
                let kind = if is_sign { Kind::Sign(c) } else { Kind::Text };
                self.push(at..at + c.len_utf8(), kind, style);
            }
        }
    }
}

/// A link with words of its own: `[words](link)`, from the bracket at `at` to the one at `bracket`.
fn named_link(text: &str, at: usize, bracket: usize, line: usize) -> Option<Atom> {
    let words = &text[at + 1..bracket];
    let rest = &text[bracket + 2..];
    let length = rest.find([')', ' ', '(', '['])?;
    let url = &rest[..length];
    if words.trim().is_empty() || words.contains('[') || !rest[length..].starts_with(')') || !is_allowed(url)
    {
        return None;
    }
    // Words that look like an address may be meant to be taken for one.
    let looks_like_address = words.split_whitespace().any(|word| {
        word.contains("://") || word.trim_end_matches('.').contains('.') && !word.ends_with("..")
    });
    let warning = (looks_like_address && host(words.trim()) != host(url)).then(|| host(url).to_owned());
    Some(Atom {
        range: line + at..line + bracket + 2 + length + 1,
        shown: line + at + 1..line + bracket,
        kind: Kind::Link { url: url.to_owned(), warning },
    })
}

/// The kinds of emphasis, by their signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emphasis {
    Bold,
    Star,
    Underscore,
    Struck,
}

impl Emphasis {
    fn at(text: &str) -> Option<Emphasis> {
        let all = [Emphasis::Bold, Emphasis::Star, Emphasis::Underscore, Emphasis::Struck];
        all.into_iter().find(|emphasis| text.starts_with(emphasis.sign()))
    }

    fn sign(self) -> &'static str {
        match self {
            Emphasis::Bold => "**",
            Emphasis::Star => "*",
            Emphasis::Underscore => "_",
            Emphasis::Struck => "~~",
        }
    }

    fn of(self, style: &mut Style) -> &mut bool {
        match self {
            Emphasis::Bold => &mut style.bold,
            Emphasis::Star | Emphasis::Underscore => &mut style.italic,
            Emphasis::Struck => &mut style.struck,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is shown, each piece in brackets with what it is.
    fn shown(text: &str) -> String {
        let shown = |piece: &Piece| {
            let words = &text[piece.range.clone()];
            let style = [
                (piece.style.bold, 'b'),
                (piece.style.italic, 'i'),
                (piece.style.struck, 's'),
                (piece.style.quote, 'q'),
            ];
            let style: String = style.into_iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
            let kind = match &piece.kind {
                Kind::Mark => return String::new(),
                Kind::Text if style.is_empty() => return words.to_owned(),
                Kind::Text => String::new(),
                Kind::Code => "code".to_owned(),
                Kind::Block { language } => format!("block {}", language.as_deref().unwrap_or("-")),
                Kind::Link { url, warning: None } if url == words => "link".to_owned(),
                Kind::Link { url, warning } => format!("{url} {}", warning.as_deref().unwrap_or("-")),
                Kind::Mention { me: true } => "me".to_owned(),
                Kind::Mention { .. } => "nick".to_owned(),
                Kind::Room => "room".to_owned(),
                Kind::Emoji => "emoji".to_owned(),
                Kind::Sign(c) => return format!("<U+{:04X}>", u32::from(*c)),
            };
            format!("{{{style}{}{kind}|{words}}}", if style.is_empty() || kind.is_empty() { "" } else { " " })
        };
        pieces(text, "alice").iter().map(shown).collect()
    }

    #[test]
    fn marks_are_what_they_mean_and_everything_else_stays() {
        for (text, expected) in [
            ("**bold** and *it* and _it_ and ~~no~~", "{b|bold} and {i|it} and {i|it} and {s|no}"),
            ("**bold *both* bold**", "{b|bold }{bi|both}{b| bold}"),
            ("2 * 3 * 4, __init__, a_b_c, **", "2 * 3 * 4, __init__, a_b_c, **"),
            ("*not\nclosed*", "*not\nclosed*"),
            (
                "* a list\n1. one\n3. three\n# no heading\n    code?",
                "* a list\n1. one\n3. three\n# no heading\n    code?",
            ),
            ("`a *b* c` and ``", "{code|a *b* c} and ``"),
            ("> said **so**\nmore", "{q|said }{bq|so}\nmore"),
            (">no quote", ">no quote"),
            ("```rust\nlet a = *b;\n\n```\nafter", "{block rust|let a = *b;\n\n}after"),
            ("```\nnot closed", "```\nnot closed"),
            (
                "see https://a.example/x_y_z. Or (http://b.example)!",
                "see {link|https://a.example/x_y_z}. Or ({link|http://b.example})!",
            ),
            ("javascript:alert(1) file:///etc", "javascript:alert(1) file:///etc"),
            ("[here](https://a.example/x)", "{https://a.example/x -|here}"),
            (
                "[https://bank.example](https://evil.example)",
                "{https://evil.example evil.example|https://bank.example}",
            ),
            ("[x](javascript:alert(1)) [a](b)", "[x](javascript:alert(1)) [a](b)"),
            ("hi @bob, ALICE: in #ops?", "hi {nick|@bob}, {me|ALICE}: in {room|#ops}?"),
            ("malice, a@b.example, x#y", "malice, a@b.example, x#y"),
            ("\u{1f44d}ok \u{202e}evil", "{emoji|\u{1f44d}}ok <U+202E>evil"),
            ("**a** *b", "{b|a} *b"),
            ("a\n\n\nb", "a\n\n\nb"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_few_emoji_alone_are_large() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
        for (text, large) in [
            ("\u{1f44d}", true),
            (&*format!("{family} \u{1f44d}\u{1f44d}"), true),
            ("\u{1f44d}\u{1f44d}\u{1f44d}\u{1f44d}", false),
            ("\u{1f44d} ok", false),
            ("1", false),
            (" ", false),
            ("", false),
        ] {
            assert_eq!(is_large(text), large, "{text:?}");
        }
        assert_eq!(shown(family), format!("{{emoji|{family}}}"), "a family is one");
    }

    #[test]
    fn what_repeats_itself_takes_no_longer_than_its_length() {
        // Steps, not time: each of these would be a thousand times more if it were not linear.
        for unit in ["*[", "`[", "**_~~", "```\n", "[a](", "@#_", "> *", "(((https://"] {
            let text = unit.repeat(8_192 / unit.len());
            let pieces = pieces(&text, "alice");
            assert!(pieces.len() <= text.len());
        }
    }

    proptest! {
        #[test]
        fn pieces_cover_the_text_once_and_in_order(text in "([*_~`> \\[\\]()a-z@#\n\u{1f44d}\u{e9}\u{202e}]|https://a\\.b|```|\\*\\*){0,40}") {
            let mut end = 0;
            for piece in pieces(&text, "a") {
                prop_assert_eq!(piece.range.start, end);
                prop_assert!(piece.range.end > end && text.is_char_boundary(piece.range.end));
                end = piece.range.end;
            }
            prop_assert_eq!(end, text.len());
        }

        #[test]
        fn nothing_is_changed_in_plain_words(text in "[a-zA-Z0-9 ,;:!?\n\u{e9}\u{5c71}]{0,60}") {
            prop_assert!(pieces(&text, "somebody-else").iter().all(|piece| piece.kind == Kind::Text));
        }

        #[test]
        fn any_text_is_taken_apart(text in "\\PC{0,80}") {
            let length: usize = pieces(&text, "alice").iter().map(|piece| piece.range.len()).sum();
            prop_assert_eq!(length, text.len());
        }
    }
}
