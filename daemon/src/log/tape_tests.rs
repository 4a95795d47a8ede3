//! Every log that a test makes is played again, to a fresh one and in other batches of the same packs: what becomes of the
//! drafts, and all that is stored, has to be the same. So a daemon that follows another's packs has the same log.

use rusqlite::Connection;
use rusqlite::types::Value;
use snug_protocol::{LogName, Timestamp};

use super::{Draft, Log, LogLimits, Outcome, Storage, Transaction};

/// What has been done to a log since it was made.
#[derive(Default)]
pub(super) struct Tape {
    steps: Vec<Step>,
    /// Whether something was done to it that is not on the tape.
    is_void: bool,
}

enum Step {
    Pack(Timestamp, Vec<Draft>, Vec<Outcome>),
    /// The process ended, and another one has opened it.
    Crash,
}

/// The longest tape that is played again, in drafts.
const LONGEST: usize = 20_000;

impl Tape {
    pub(super) fn void() -> Tape {
        Tape { steps: Vec::new(), is_void: true }
    }

    pub(super) fn record(&mut self, time: Timestamp, drafts: &[&Draft], outcomes: &[Outcome]) {
        if !self.is_void {
            let drafts = drafts.iter().copied().cloned().collect();
            self.steps.push(Step::Pack(time, drafts, outcomes.to_vec()));
        }
    }

    pub(super) fn crash(&mut self) {
        self.steps.push(Step::Crash);
    }

    /// Plays it to a fresh log, and compares that with `database`.
    pub(super) fn play(&self, name: LogName, limits: LogLimits, database: &Connection) {
        let length = |step: &Step| if let Step::Pack(_, drafts, _) = step { drafts.len() } else { 0 };
        let drafts: usize = self.steps.iter().map(length).sum();
        if self.is_void || drafts > LONGEST {
            return;
        }
        let mut fresh = Log::in_memory(name, limits).expect("a database");
        fresh.tape = Tape::void();
        let mut steps = &self.steps[..];
        for size in [3, 1, 5, 2, 8].into_iter().cycle() {
            let Some(first) = steps.first() else { break };
            if matches!(first, Step::Crash) {
                fresh = fresh.crash();
                steps = &steps[1..];
                continue;
            }
            let count = steps.iter().take(size).take_while(|step| matches!(step, Step::Pack(..))).count();
            fresh.play(&steps[..count]);
            steps = &steps[count..];
        }
        compare(&rows(database), &rows(&fresh.database));
    }
}

impl Log {
    /// Applies packs in one transaction.
    fn play(&mut self, packs: &[Step]) {
        let transaction = Transaction::begin(&self.database).expect("a transaction");
        let (mut ends, mut last_time) = (self.ends, self.last_time);
        for pack in packs {
            let Step::Pack(time, drafts, outcomes) = pack else { continue };
            let meta = super::Meta { time: (*time).max(last_time), key_window: self.limits.key_window };
            let drafts: Vec<&Draft> = drafts.iter().collect();
            let before = ends;
            let again = self.apply_pack(&transaction, &meta, &drafts, (&mut ends, last_time));
            assert_eq!(*outcomes, again.expect("it was applied before"), "{drafts:?}");
            if ends != before {
                last_time = meta.time;
            }
        }
        transaction.commit().expect("a commit");
        (self.ends, self.last_time) = (ends, last_time);
    }
}

/// All rows of all tables, a line each, in a fixed order.
fn rows(database: &Connection) -> Vec<String> {
    let names =
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = database.prepare(names).expect("a database");
    let names = statement.query_map([], |row| row.get::<_, String>(0)).expect("names");
    let mut lines = Vec::new();
    for name in names.map(|name| name.expect("a name")) {
        let mut statement = database.prepare(&format!("SELECT * FROM main.\"{name}\"")).expect("a table");
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| {
            let values: rusqlite::Result<Vec<Value>> = (0..columns).map(|at| row.get(at)).collect();
            Ok(format!("{name} {:?}", values?))
        };
        let found = statement.query_map([], read).expect("rows");
        let mut found: Vec<String> = found.map(|row| row.expect("a row")).collect();
        found.sort_unstable();
        lines.append(&mut found);
    }
    lines
}

fn compare(first: &[String], again: &[String]) {
    for (first, again) in first.iter().zip(again) {
        assert_eq!(first, again, "a log that was played again is the same");
    }
    assert_eq!(first.len(), again.len());
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut limits = self.limits;
        if self.place != Storage::Memory {
            // Only in memory there is a limit.
            limits.entries = u64::MAX >> 1;
        }
        std::mem::take(&mut self.tape).play(self.name, limits, &self.database);
    }
}
