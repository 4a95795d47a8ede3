//! `snug top`: a live screen of how the daemon is doing.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use futures_lite::FutureExt;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use smol::Timer;
use snug_client::Client;
use snug_protocol::{Body, Command};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Show how the daemon is doing, live: users, rooms, rates
///
/// For operators. q, Esc or Ctrl-C ends it.
#[derive(Args)]
pub(crate) struct Top {
    /// Time between two looks, in milliseconds
    #[arg(long, value_name = "MS", default_value = "1000", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    every: u64,
}

/// Looks that the plots show at most.
const LOOKS: usize = 300;

/// What the daemon said, and when.
struct Look {
    at: Instant,
    stats: Vec<(String, u64)>,
    users: Vec<[String; 3]>,
    rooms: Vec<[String; 3]>,
}

impl Look {
    async fn take(client: &Client) -> Result<Look, Failure> {
        let mut look = Look { at: Instant::now(), stats: Vec::new(), users: Vec::new(), rooms: Vec::new() };
        for row in client.ask(Command::Stats).await?.rows {
            let line = row.line();
            let Body::Stat { item } = line.body else { continue };
            if let Some((name, value)) = item.split_once('=') {
                look.stats.push((output::visible(name), value.parse().unwrap_or(0)));
            }
        }
        for row in client.ask(Command::Who { of: None }).await?.rows {
            let line = row.line();
            let Body::User { nick, status, since } = line.body else { continue };
            look.users.push([output::visible(nick), output::visible(status), output::moment_of(since)]);
        }
        for row in client.ask(Command::Rooms).await?.rows {
            let line = row.line();
            let Body::Room { room, members, topic } = &line.body else { continue };
            let topic = topic.as_deref().unwrap_or_default().replace('\n', " ");
            look.rooms.push([output::visible(room), output::visible(members), output::visible(&topic)]);
        }
        // The fullest first: they are what one wants to see where there is no place for all.
        look.rooms.sort_by_key(|[_, members, _]| std::cmp::Reverse(members.parse::<u64>().unwrap_or(0)));
        Ok(look)
    }

    fn stat(&self, name: &str) -> u64 {
        self.stats.iter().find(|(other, _)| other == name).map_or(0, |(_, value)| *value)
    }
}

/// What the screen shows.
#[derive(Default)]
struct Screen {
    now: Option<Look>,
    /// Per second, the newest last.
    messages: VecDeque<u64>,
    deliveries: VecDeque<u64>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Screen {
    fn add(&mut self, look: Look) {
        if let Some(before) = &self.now {
            let seconds = look.at.duration_since(before.at).as_secs_f64().max(0.001);
            let rate = |name: &str| {
                let grown = look.stat(name).saturating_sub(before.stat(name));
                (grown as f64 / seconds).round() as u64
            };
            let (messages, deliveries) = (rate("messages"), rate("deliveries"));
            (self.bytes_in, self.bytes_out) = (rate("bytes-in"), rate("bytes-out"));
            for (plot, value) in [(&mut self.messages, messages), (&mut self.deliveries, deliveries)] {
                plot.push_back(value);
                if plot.len() > LOOKS {
                    plot.pop_front();
                }
            }
        }
        self.now = Some(look);
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let Some(look) = &self.now else { return };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let [head, plots, lists] =
            Layout::vertical([Constraint::Length(5), Constraint::Length(8), Constraint::Min(3)])
                .areas(frame.area());
        let uptime = Duration::from_secs(look.stat("uptime"));
        let stat = |name: &str| look.stat(name);
        let lines = vec![
            Line::styled(format!("snug  up {}   q ends", elapsed(uptime)), bold),
            Line::from(format!(
                "sessions {}   users {}   rooms {}   messages {}   deliveries {}",
                stat("sessions"),
                stat("users"),
                stat("rooms"),
                stat("messages"),
                stat("deliveries")
            )),
            Line::from(format!(
                "in {}/s   out {}/s   waiting: queue {}, outboxes {}",
                bytes(self.bytes_in),
                bytes(self.bytes_out),
                stat("queue"),
                bytes(stat("outboxes"))
            )),
            Line::from(format!(
                "commit p50 {} p99 {} µs   delivery p50 {} p99 {} µs",
                stat("commit-p50"),
                stat("commit-p99"),
                stat("delivery-p50"),
                stat("delivery-p99")
            )),
            Line::from(refused(look)),
        ];
        frame.render_widget(Paragraph::new(lines), head);

        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(plots);
        for (area, title, plot) in
            [(left, "messages", &self.messages), (right, "deliveries", &self.deliveries)]
        {
            let width = usize::from(area.width.saturating_sub(2));
            let shown: Vec<u64> = plot.iter().skip(plot.len().saturating_sub(width)).copied().collect();
            let most = shown.iter().max().copied().unwrap_or(0);
            let title = format!(" {title}/s: {} now, {most} at most ", plot.back().copied().unwrap_or(0));
            frame
                .render_widget(Sparkline::default().data(&shown).block(Block::bordered().title(title)), area);
        }

        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(lists);
        let users = look.users.iter().map(|row| Row::new(row.clone()));
        let widths = [Constraint::Fill(2), Constraint::Length(7), Constraint::Length(19)];
        let title = format!(" users {} ", look.users.len());
        frame.render_widget(Table::new(users, widths).block(Block::bordered().title(title)), left);
        let rooms = look.rooms.iter().map(|row| Row::new(row.clone()));
        let widths = [Constraint::Fill(2), Constraint::Length(7), Constraint::Fill(3)];
        let title = format!(" rooms {} ", look.rooms.len());
        frame.render_widget(Table::new(rooms, widths).block(Block::bordered().title(title)), right);
    }
}

/// What was refused most.
fn refused(look: &Look) -> String {
    let mut codes: Vec<(&str, u64)> = look
        .stats
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix("refused-")?, *count)))
        .collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<String> = codes.iter().take(5).map(|(code, count)| format!("{code} {count}")).collect();
    if shown.is_empty() { "refused nothing".to_owned() } else { format!("refused {}", shown.join(", ")) }
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match days {
        0 => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        _ => format!("{days} days {hours}:{minutes:02}"),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

impl Top {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        if !io::stdout().is_terminal() {
            let text = "top is for a terminal; `snug admin stats` prints the numbers";
            return Err(Failure::new(Exit::Usage, text));
        }
        let (client, events) = connect::connect(common, Part::Asker).await?;
        drop(events);
        let first = Look::take(&client).await?;
        let mut screen = Screen::default();
        screen.add(first);
        let mut terminal = ratatui::init();
        let done = self.watch(&client, &mut screen, &mut terminal).await;
        ratatui::restore();
        done
    }

    async fn watch(
        &self,
        client: &Client,
        screen: &mut Screen,
        terminal: &mut ratatui::DefaultTerminal,
    ) -> Result<(), Failure> {
        let (pressed, keys) = async_channel::unbounded();
        // It ends with the process: it waits for a key most of the time.
        std::thread::spawn(move || {
            while let Ok(input) = event::read() {
                if pressed.send_blocking(input).is_err() {
                    return;
                }
            }
        });
        let every = Duration::from_millis(self.every);
        let mut due = Instant::now() + every;
        loop {
            terminal.draw(|frame| screen.draw(frame))?;
            let look = async {
                Timer::at(due).await;
                Input::Look(Box::new(Look::take(client).await))
            };
            // A key ends a look as well: the server may be silent.
            let key = async { Input::Terminal(keys.recv().await) };
            match key.or(look).await {
                Input::Terminal(Ok(TerminalEvent::Key(key))) if key.kind == KeyEventKind::Press => {
                    let is_interrupt =
                        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Input::Terminal(Ok(_)) => {}
                // The terminal is gone.
                Input::Terminal(Err(_)) => return Ok(()),
                Input::Look(look) => {
                    screen.add((*look)?);
                    due = Instant::now() + every;
                }
            }
        }
    }
}

enum Input {
    Terminal(Result<TerminalEvent, async_channel::RecvError>),
    Look(Box<Result<Look, Failure>>),
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn the_screen_shows_counts_rates_people_and_rooms() {
        let look = |at, messages| Look {
            at,
            stats: [("uptime", 90_061), ("sessions", 3), ("messages", messages), ("refused-denied", 2)]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            users: vec![["alice".into(), "away".into(), "10:15:02".into()]],
            rooms: vec![["#lobby".into(), "3".into(), "all about snug".into()]],
        };
        let begin = Instant::now();
        let mut screen = Screen::default();
        screen.add(look(begin, 100));
        screen.add(look(begin + Duration::from_secs(2), 300));
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).expect("a screen");
        terminal.draw(|frame| screen.draw(frame)).expect("drawn");
        let shown = terminal.backend().to_string();
        for text in [
            "1 days 1:01",
            "sessions 3",
            "messages/s: 100 now",
            "refused denied 2",
            "alice",
            "#lobby",
            "all about snug",
        ] {
            assert!(shown.contains(text), "{text} in\n{shown}");
        }
        // A very small one is no trouble.
        let mut terminal = Terminal::new(TestBackend::new(4, 2)).expect("a screen");
        terminal.draw(|frame| screen.draw(frame)).expect("drawn");
    }
}
