//! Filters, which rewrite a text before it is committed. They are trusted code, and supervised all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use snug_bots::Filter;

use crate::Clock;

/// The filters, in order.
#[derive(Default)]
pub(crate) struct Filters(Vec<Slot>);

/// A filter, and its record so far.
struct Slot {
    filter: Box<dyn Filter>,
    overruns: AtomicU32,
    is_off: AtomicBool,
}

/// How long a filter may take for one text, and the number of slower runs after which it is left out.
const BUDGET: Duration = Duration::from_millis(5);
const OVERRUNS: u32 = 5;

impl Filters {
    pub(crate) fn new(filters: Vec<Box<dyn Filter>>) -> Filters {
        let slot = |filter| Slot { filter, overruns: AtomicU32::new(0), is_off: AtomicBool::new(false) };
        Filters(filters.into_iter().map(slot).collect())
    }

    /// Returns the text as the filters rewrite it; `None` if they leave it as it is. A result for which `fits` is
    /// false is ignored. A filter that panics, or is too slow too often, is left out from then on: `left_out` is
    /// called with its name and the reason.
    pub(crate) fn rewrite(
        &self,
        clock: &dyn Clock,
        text: &str,
        fits: impl Fn(&String) -> bool,
        left_out: impl Fn(&str, &str),
    ) -> Option<String> {
        let mut filtered: Option<String> = None;
        for slot in &self.0 {
            if slot.is_off.load(Relaxed) {
                continue;
            }
            let begun = clock.elapsed();
            let text = filtered.as_deref().unwrap_or(text);
            let rewritten = catch_unwind(AssertUnwindSafe(|| slot.filter.rewrite(text)));
            let took = clock.elapsed().saturating_sub(begun);
            let Ok(rewritten) = rewritten else {
                slot.leave_out(&left_out, "it panicked");
                continue;
            };
            if took > BUDGET && slot.overruns.fetch_add(1, Relaxed) + 1 >= OVERRUNS {
                slot.leave_out(&left_out, "it takes too long");
            }
            filtered = rewritten.filter(|text| fits(text)).or(filtered);
        }
        filtered
    }
}

impl Slot {
    /// Leaves a filter out from now on, and reports it. Texts pass it unchanged.
    fn leave_out(&self, left_out: &impl Fn(&str, &str), why: &str) {
        if !self.is_off.swap(true, Relaxed) {
            let name = self.filter.name();
            tracing::error!(filter = name, "{why}; it is left out until the settings are read again");
            left_out(name, why);
        }
    }
}
