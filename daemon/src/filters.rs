//! Filters: what rewrites a text before it is committed. They are trusted code, and looked after all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use snug_bots::Filter;

use crate::core::Core;
use crate::log::{AuditNote, Author};

/// The filters, in order.
#[derive(Default)]
pub(crate) struct Filters(Vec<Slot>);

/// A filter, and how it is doing.
struct Slot {
    filter: Box<dyn Filter>,
    overruns: AtomicU32,
    is_off: AtomicBool,
}

/// How long a filter may take for one text, and how often it may take longer before it is left out.
const BUDGET: Duration = Duration::from_millis(5);
const OVERRUNS: u32 = 5;

impl Filters {
    pub(crate) fn new(filters: Vec<Box<dyn Filter>>) -> Filters {
        let slot = |filter| Slot { filter, overruns: AtomicU32::new(0), is_off: AtomicBool::new(false) };
        Filters(filters.into_iter().map(slot).collect())
    }

    /// What they make of a text; `None` if they leave it. A result that does not fit is not taken.
    pub(crate) fn rewrite(&self, core: &Core, text: &str, fits: impl Fn(&String) -> bool) -> Option<String> {
        let mut filtered: Option<String> = None;
        for slot in &self.0 {
            if slot.is_off.load(Relaxed) {
                continue;
            }
            let begun = core.environment.clock.elapsed();
            let text = filtered.as_deref().unwrap_or(text);
            let rewritten = catch_unwind(AssertUnwindSafe(|| slot.filter.rewrite(text)));
            let took = core.environment.clock.elapsed().saturating_sub(begun);
            let Ok(rewritten) = rewritten else {
                slot.leave_out(core, "it panicked");
                continue;
            };
            if took > BUDGET && slot.overruns.fetch_add(1, Relaxed) + 1 >= OVERRUNS {
                slot.leave_out(core, "it takes too long");
            }
            filtered = rewritten.filter(|text| fits(text)).or(filtered);
        }
        filtered
    }
}

impl Slot {
    /// Leaves a filter out from now on, and says so. What it was given goes on as it is.
    fn leave_out(&self, core: &Core, why: &str) {
        if !self.is_off.swap(true, Relaxed) {
            let name = self.filter.name();
            tracing::error!(filter = name, "{why}; it is left out until the settings are read again");
            core.audit(Author::default(), AuditNote::new("filter", name, format!("left out: {why}")));
        }
    }
}
