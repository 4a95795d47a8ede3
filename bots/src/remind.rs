//! `!remind in 10m tea`, `at 14:00 …`, `every weekday 9:00 …`: also over restarts.

use chrono::{DateTime, Datelike, Duration, FixedOffset, NaiveTime, Weekday};
use snug_protocol::Period;

use crate::config::bot_config;
use crate::{Bot, CommandSpec, Context, Event, Manifest};

bot_config! {
    /// The table `[bots.remind]`.
    RemindConfig, "remind" {
        /// How many reminders one person may have.
        most: u64 = 50,
    }
}

/// Reminds.
#[derive(Debug)]
pub struct Remind {
    manifest: Manifest,
    most: u64,
}

/// The most bytes of a reminder's text, and how far ahead it may be: what the bot keeps is bounded for all together.
const LONGEST: usize = 500;
const FURTHEST: Duration = Duration::days(366);

const USAGE: &str = "!remind in 10m TEXT, at 14:00 TEXT, every day|weekday|monday 9:00 TEXT; !remind list; !remind cancel NUMBER";

impl Remind {
    /// The bot that `config` describes.
    pub fn new(config: &RemindConfig) -> Remind {
        let command = CommandSpec::parse("remind", "what:text", &format!("reminds you: {USAGE}"))
            .expect("a description");
        let manifest =
            Manifest { help: "reminds people".to_owned(), commands: vec![command], listens: false };
        Remind { manifest, most: config.most }
    }
}

/// When a reminder comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    Never,
    Day,
    Weekday,
    On(Weekday),
}

impl Repeat {
    fn parse(word: &str) -> Option<Repeat> {
        match word {
            "never" => Some(Repeat::Never),
            "day" => Some(Repeat::Day),
            "weekday" => Some(Repeat::Weekday),
            day => day.parse().ok().map(Repeat::On),
        }
    }

    fn word(self) -> String {
        match self {
            Repeat::Never => "never".to_owned(),
            Repeat::Day => "day".to_owned(),
            Repeat::Weekday => "weekday".to_owned(),
            Repeat::On(day) => day.to_string().to_lowercase(),
        }
    }

    fn is_on(self, day: Weekday) -> bool {
        match self {
            Repeat::Never | Repeat::Day => true,
            Repeat::Weekday => !matches!(day, Weekday::Sat | Weekday::Sun),
            Repeat::On(wanted) => day == wanted,
        }
    }
}

/// A reminder as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reminder {
    /// Milliseconds since 1970.
    at: i64,
    repeat: Repeat,
    time: NaiveTime,
    place: String,
    from: String,
    text: String,
}

impl Reminder {
    fn read(kept: &str) -> Option<Reminder> {
        let mut parts = kept.splitn(6, '\t');
        Some(Reminder {
            at: parts.next()?.parse().ok()?,
            repeat: Repeat::parse(parts.next()?)?,
            time: parts.next()?.parse().ok()?,
            place: parts.next()?.to_owned(),
            from: parts.next()?.to_owned(),
            text: parts.next()?.to_owned(),
        })
    }

    fn written(&self) -> String {
        let Reminder { at, repeat, time, place, from, text } = self;
        format!("{at}\t{}\t{time}\t{place}\t{from}\t{text}", repeat.word())
    }
}

/// The next moment behind `now` at this time of a day on which it is.
fn next(now: DateTime<FixedOffset>, time: NaiveTime, repeat: Repeat) -> DateTime<FixedOffset> {
    for days in 0..8 {
        let day = now.date_naive() + Duration::days(days);
        let then = day.and_time(time).and_local_timezone(*now.offset()).single();
        if let Some(then) = then.filter(|then| *then > now && repeat.is_on(day.weekday())) {
            return then;
        }
    }
    now + Duration::days(7)
}

/// Reads `9:00` or `14:30`.
fn time_of(word: &str) -> Option<NaiveTime> {
    let (hour, minute) = word.split_once(':')?;
    NaiveTime::from_hms_opt(hour.parse().ok()?, minute.parse().ok()?, 0)
}

/// Reads what somebody wants: when, how often, at which time of day, and what.
fn parse(
    now: DateTime<FixedOffset>,
    what: &str,
) -> Option<(DateTime<FixedOffset>, Repeat, NaiveTime, String)> {
    let (how, rest) = what.trim().split_once(char::is_whitespace)?;
    let (word, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let text = |rest: &str| Some(rest.trim().replace('\t', " ")).filter(|text| !text.is_empty());
    match how {
        "in" => {
            let period: Period = word.parse().ok()?;
            let then =
                now.checked_add_signed(Duration::milliseconds(i64::try_from(period.millis()).ok()?))?;
            Some((then, Repeat::Never, then.time(), text(rest)?))
        }
        "at" => {
            let time = time_of(word)?;
            Some((next(now, time, Repeat::Never), Repeat::Never, time, text(rest)?))
        }
        "every" => {
            let repeat = Repeat::parse(&word.to_lowercase()).filter(|repeat| *repeat != Repeat::Never)?;
            let (word, rest) = rest.trim_start().split_once(char::is_whitespace)?;
            let time = time_of(word)?;
            Some((next(now, time, repeat), repeat, time, text(rest)?))
        }
        _ => None,
    }
}

fn shown(then: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
    match then.date_naive() == now.date_naive() {
        true => then.format("at %H:%M").to_string(),
        false => then.format("on %Y-%m-%d at %H:%M").to_string(),
    }
}

impl Bot for Remind {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        match event {
            Event::Started => {
                let kept: Vec<(String, i64)> = context
                    .state
                    .with_prefix("r:")
                    .filter_map(|(name, kept)| Some((name.to_owned(), Reminder::read(kept)?.at)))
                    .collect();
                for (name, at) in kept {
                    context.wait(&name, at);
                }
            }
            Event::Called { args, from, .. } => {
                self.called(args.get("what").unwrap_or_default(), from, context)
            }
            Event::Due { timer } => due(timer, context),
            _ => {}
        }
    }
}

impl Remind {
    fn called(&self, what: &str, from: &str, context: &mut Context<'_>) {
        let own = |context: &Context<'_>| -> Vec<(String, Reminder)> {
            let kept = context.state.with_prefix("r:");
            let read = kept.filter_map(|(name, kept)| Some((name.to_owned(), Reminder::read(kept)?)));
            read.filter(|(_, reminder)| reminder.from == from).collect()
        };
        if what.trim() == "list" {
            let list: Vec<String> = own(context)
                .into_iter()
                .filter_map(|(name, reminder)| {
                    let then =
                        DateTime::from_timestamp_millis(reminder.at)?.with_timezone(context.now.offset());
                    let again = match reminder.repeat {
                        Repeat::Never => String::new(),
                        repeat => format!(", every {}", repeat.word()),
                    };
                    let number = name.trim_start_matches("r:").trim_start_matches('0');
                    Some(format!("{number}: {}{again}: {}", shown(then, context.now), reminder.text))
                })
                .collect();
            let list = if list.is_empty() { "you have no reminders".to_owned() } else { list.join("\n") };
            return context.reply(list);
        }
        if let Some(number) = what.trim().strip_prefix("cancel ") {
            let name =
                number.trim().parse::<u64>().map(|number| format!("r:{number:06}")).unwrap_or_default();
            let is_own = own(context).iter().any(|(own, _)| *own == name);
            if !is_own {
                return context.reply(format!("you have no reminder {}", number.trim()));
            }
            context.state.remove(&name);
            context.forget(&name);
            return context.reply(format!("reminder {} is off", number.trim()));
        }
        let Some((then, repeat, time, text)) = parse(context.now, what) else {
            return context.reply(format!("usage: {USAGE}"));
        };
        if text.len() > LONGEST {
            return context.reply(format!("a reminder has at most {LONGEST} bytes of text"));
        }
        if then - context.now > FURTHEST {
            return context.reply("that is more than a year ahead; the calendar keeps it better");
        }
        if own(context).len() as u64 >= self.most {
            return context.reply(format!("you have {} reminders, which is the limit", self.most));
        }
        let Some(place) = context.place else { return };
        let number = context.state.get("last").and_then(|last| last.parse::<u64>().ok()).unwrap_or(0) + 1;
        let name = format!("r:{number:06}");
        let at = then.timestamp_millis();
        let reminder =
            Reminder { at, repeat, time, place: place.name().to_owned(), from: from.to_owned(), text };
        if !context.state.set(&name, reminder.written()) {
            return context.reply("there are too many reminders; cancel some");
        }
        context.state.set("last", number.to_string());
        context.wait(&name, at);
        let again =
            if repeat == Repeat::Never { String::new() } else { format!(", and every {}", repeat.word()) };
        context.reply(format!("reminder {number}: {}{again}", shown(then, context.now)));
    }
}

fn due(timer: &str, context: &mut Context<'_>) {
    let Some(mut reminder) = context.state.get(timer).and_then(Reminder::read) else { return };
    // One that came while nobody was there is told when.
    let late = (context.now.timestamp_millis() - reminder.at) / 60_000;
    let late = if late >= 1 { format!(" (late: {late} min)") } else { String::new() };
    let to = if reminder.place.starts_with('#') { format!("{}: ", reminder.from) } else { String::new() };
    context.say(&reminder.place, format!("\u{23f0} {to}{}{late}", reminder.text));
    if reminder.repeat == Repeat::Never {
        context.state.remove(timer);
        return;
    }
    reminder.at = next(context.now, reminder.time, reminder.repeat).timestamp_millis();
    context.wait(timer, reminder.at);
    context.state.set(timer, reminder.written());
}
