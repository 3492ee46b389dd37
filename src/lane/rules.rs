//! Rollup rules: which buckets of a source are due, what their values are, and writing them to their destination.
//!
//! A bucket is due when a sample opens a later one, and again when a sample is added to it, or deleted from it, after
//! that; with it those beside it that look at its samples (`beside.rs`). Its value is always computed from the samples of
//! the source, so there is no state of a rule that could get lost or be wrong after a crash. Samples from before the rule
//! do not count in the bucket that it was made in the midst of, until that bucket has a late sample or a deletion; any
//! other bucket counts whole, whenever something changes in it. A destination in the same partition is written with the
//! same record; others get theirs through the outbox.

use crate::aggregate::Bucketing;
use crate::series::{Rule, Sample, SeriesProperties};

use super::beside::{looks_ahead, looks_back};
use super::events::EventClasses;
use super::outbox::{OutboxEntry, Side};
use super::partition::Partition;
use super::properties::PLAIN_DATA_TYPE;
use super::rollup_reads::{RolledUp, RollupFound, bucket_begun_before};
use super::stop::Stop;

/// Rules that follow one another within one partition: further ones go through the outbox.
const CHAIN_MAX: usize = 8;

/// A stretch of time, both ends included.
pub(super) type Stretch = (i64, i64);

/// What a change makes due of a rule.
enum Due {
    /// The buckets of this stretch.
    Buckets(Stretch),
    /// Those beside that of a changed sample.
    Beside(i64, Side),
}

/// How the rule cuts time into buckets; `None` if its zone is not known any more.
pub fn bucketing_of(rule: &Rule, unit_ns: i64) -> Option<Bucketing> {
    let (text, zone) = &rule.calendar;
    if text.is_empty() {
        return Bucketing::fixed(rule.bucket, rule.align);
    }
    let zone = std::str::from_utf8(zone).ok().filter(|zone| !zone.is_empty());
    Bucketing::parse(text, rule.align, zone, unit_ns).ok()
}

impl Partition {
    /// A sample of this timestamp was added to the series of data type 0 of the key at `place`: rolls up what is due.
    /// `before` was its newest timestamp.
    pub(super) fn roll_up_after(&mut self, place: usize, before: Option<i64>, timestamp: i64, now_ms: i64) {
        let after = before.map_or(timestamp, |newest| newest.max(timestamp));
        let is_late = before.is_some_and(|newest| timestamp <= newest);
        self.begin_earlier(place, |rule, bucketing| {
            let begun = bucket_begun_before(rule, bucketing).filter(|bucket| bucket.contains(timestamp));
            if let Some(begun) = begun.filter(|_| is_late || timestamp < rule.from) {
                return Some(begun.start);
            }
            // The newest samples were deleted, and the series goes on in a bucket from before the rule.
            let own = bucketing.bucket_of(timestamp);
            (timestamp < rule.from && bucketing.start_of(after) <= own.last).then_some(own.start)
        });
        let mut due: Vec<(Rule, Due)> = Vec::new();
        for (rule, bucketing) in self.rules_at(place) {
            let own = bucketing.bucket_of(timestamp);
            // Without a sample since the rule was made there is nothing to write.
            let was_open = before
                .filter(|newest| *newest >= rule.from)
                .map(|newest| bucketing.bucket_of(newest));
            let open_start = bucketing.start_of(after);
            let changed = [was_open.filter(|bucket| *bucket != own), Some(own)];
            for bucket in changed.into_iter().flatten() {
                if bucket.last < open_start {
                    due.push((rule.clone(), Due::Buckets((bucket.start, bucket.last))));
                }
            }
            if is_late && own.last < open_start && looks_back(rule) {
                due.push((rule.clone(), Due::Beside(timestamp, Side::Later)));
            }
            // Behind samples that are NaN, the first number is the one that buckets before them look at.
            if looks_ahead(rule) && (is_late || before.is_some() && self.may_follow_nan(place)) {
                due.push((rule.clone(), Due::Beside(timestamp, Side::Earlier)));
            }
        }
        self.roll_up(place, due, now_ms);
    }

    /// Samples between these timestamps were deleted, before which `newest` was the newest timestamp: rolls up again
    /// what was closed.
    pub fn roll_up_deleted(&mut self, place: usize, (from, to): Stretch, newest: Option<i64>, now_ms: i64) {
        let Some(newest) = newest else { return };
        let reopens = newest <= to;
        let becomes_whole = |rule: &Rule, bucketing: &Bucketing| {
            bucket_begun_before(rule, bucketing).filter(|bucket| from <= bucket.last && bucket.start <= to)
        };
        let mut due: Vec<(Rule, Due)> = Vec::new();
        for (rule, bucketing) in self.rules_at(place) {
            let open = bucketing.bucket_of(newest);
            let last_closed = open.start.saturating_sub(1);
            let first = bucketing.start_of(from.max(0));
            // The open bucket may have been closed before: then its value goes.
            let last_written = if reopens { open.last } else { last_closed };
            let changed = (first, bucketing.bucket_of(to).last.min(last_written));
            if changed.0 <= changed.1 {
                due.push((rule.clone(), Due::Buckets(changed)));
            }
            if to < open.start && looks_back(rule) {
                due.push((rule.clone(), Due::Beside(to, Side::Later)));
            }
            if looks_ahead(rule) {
                due.push((rule.clone(), Due::Beside(from, Side::Earlier)));
            }
        }
        self.begin_earlier(place, |rule, bucketing| {
            let begun = becomes_whole(rule, bucketing).map(|bucket| bucket.start);
            let reopened = reopens.then(|| bucketing.start_of(from));
            begun.into_iter().chain(reopened).min()
        });
        self.roll_up(place, due, now_ms);
    }

    /// Every bucket before that of `newest` is owed by the rule of the key at `place` that writes to `destination`: on
    /// record with the rule, so that there is never one without the other.
    pub fn owe_closed_buckets(&mut self, place: usize, destination: &[u8], newest: i64) {
        let of_rule = self
            .rules_at(place)
            .find(|(rule, _)| *rule.destination == *destination);
        let Some((_, bucketing)) = of_rule else { return };
        let to = bucketing.start_of(newest).saturating_sub(1);
        if to >= 0 {
            let source = self.keys.at(place).key().into();
            self.owe(OutboxEntry::Rollup {
                source,
                destination: destination.into(),
                from: 0,
                to,
            });
        }
    }

    /// True if samples of the key at `place` are rolled up.
    #[inline]
    pub fn has_rules(&self, place: usize) -> bool {
        let has_some = |properties: &SeriesProperties| !properties.rules.is_empty();
        self.has_rules && self.properties(place).is_some_and(has_some)
    }

    /// Rules count from the earlier start of a bucket on, where `earlier` says so. The bucket that a rule was made in the
    /// midst of then counts with all its samples, as RedisTimeSeries has it.
    fn begin_earlier(&mut self, place: usize, earlier: impl Fn(&Rule, &Bucketing) -> Option<i64>) {
        let found: Vec<(Box<[u8]>, i64)> = self
            .rules_at(place)
            .filter_map(|(rule, bucketing)| {
                let from = earlier(rule, &bucketing).filter(|from| *from < rule.from)?;
                Some((rule.destination.clone(), from))
            })
            .collect();
        let Some(properties) = self.properties(place).filter(|_| !found.is_empty()) else {
            return;
        };
        let mut properties = properties.clone();
        for rule in &mut properties.rules {
            if let Some((_, from)) = found.iter().find(|(key, _)| *key == rule.destination) {
                rule.from = *from;
            }
        }
        self.set_properties(place, properties);
    }

    fn rules_at(&self, place: usize) -> impl Iterator<Item = (&Rule, Bucketing)> {
        let unit_ns = self.settings.time_unit.nanoseconds();
        self.properties(place)
            .into_iter()
            .flat_map(|properties| &properties.rules)
            .filter_map(move |rule| Some((rule, bucketing_of(rule, unit_ns)?)))
    }

    fn roll_up(&mut self, place: usize, due: Vec<(Rule, Due)>, now_ms: i64) {
        if due.is_empty() {
            return;
        }
        let source: Box<[u8]> = self.keys.at(place).key().into();
        for (rule, due) in due {
            let stretch = match due {
                Due::Buckets(stretch) => Some(stretch),
                Due::Beside(changed, side) => self.found_beside(&source, &rule, (changed, side), now_ms),
            };
            let Some(stretch) = stretch else { continue };
            if !self.roll_up_here(&source, &rule, stretch, now_ms) {
                let (from, to) = stretch;
                self.owe(OutboxEntry::Rollup {
                    source: source.clone(),
                    destination: rule.destination,
                    from,
                    to,
                });
            }
        }
    }

    /// As [`Partition::stretch_beside`]; what has to be read from the disk for it is owed.
    fn found_beside(
        &mut self,
        source: &[u8],
        rule: &Rule,
        (changed, side): (i64, Side),
        now_ms: i64,
    ) -> Option<Stretch> {
        let ends = (source, &*rule.destination);
        let found = self.stretch_beside(ends, (changed, side), now_ms);
        if found.is_err() {
            self.owe(OutboxEntry::Beside {
                source: source.into(),
                destination: rule.destination.clone(),
                changed,
                side,
            });
        }
        found.ok().flatten()
    }

    /// Writes to a destination in this partition, if that is possible at once.
    fn roll_up_here(&mut self, source: &[u8], rule: &Rule, stretch: Stretch, now_ms: i64) -> bool {
        let running = self.batches.running();
        if self.roll_up_depth >= CHAIN_MAX || self.batches.is_held(&rule.destination, running) {
            return false;
        }
        // What has been read for a rollup on its way may be older, and must not be written later.
        if self.outbox.owes_rollup_to(&rule.destination) {
            return false;
        }
        // Not found here, or to be read from the disk: the outbox finds it.
        let Ok(Some((_, _))) = self.find_plain_series(&rule.destination, now_ms) else {
            return false;
        };
        let Some(read) = self
            .read_rollup(source, &rule.destination, (stretch, usize::MAX), now_ms)
            .ok()
            .flatten()
        else {
            return false;
        };
        if !read.is_ready() {
            return false;
        }
        let Ok(RollupFound::Whole(rolled_up)) = read.run() else {
            return false;
        };
        self.roll_up_depth += 1;
        let written = self.write_rollup(source, &rule.destination, &rolled_up, now_ms);
        self.roll_up_depth -= 1;
        written.is_ok()
    }

    /// The rule from `source` to `destination` with the place of the source's series.
    pub(super) fn find_rule(
        &mut self,
        source: &[u8],
        destination: &[u8],
        now_ms: i64,
    ) -> Result<Option<(u32, Rule, Bucketing)>, Stop> {
        let Some((place, member)) = self.find_plain_series(source, now_ms)? else {
            return Ok(None);
        };
        let found = self
            .rules_at(place)
            .find(|(rule, _)| *rule.destination == *destination);
        Ok(found.map(|(rule, bucketing)| (member, rule.clone(), bucketing)))
    }

    /// Makes the destination hold what the source's buckets say. A destination that is gone, or that belongs to another
    /// source, is left alone.
    ///
    /// # Errors
    /// `Wait::Load`, or, if the destination has rules itself, as [`Partition::certain_newest`].
    pub fn write_rollup(
        &mut self,
        source: &[u8],
        destination: &[u8],
        rolled_up: &RolledUp,
        now_ms: i64,
    ) -> Result<(), Stop> {
        let Some((place, member)) = self.find_plain_series(destination, now_ms)? else {
            return Ok(());
        };
        let belongs =
            |properties: &crate::series::SeriesProperties| properties.source.as_deref() == Some(source);
        if !self.properties(place).is_some_and(belongs) {
            return Ok(());
        }
        let (from, to) = rolled_up.replaced;
        let has_rules = self.has_rules(place);
        let newest = if has_rules {
            self.certain_newest(member)?
        } else {
            self.series_at(member).newest_timestamp()
        };
        let is_single = from == to && rolled_up.samples.len() == 1;
        if !is_single && from <= to && newest.is_some_and(|newest| from <= newest) {
            // Everything that has to be read from the disk is read before the first sample goes.
            let remaining = has_rules
                .then(|| self.newest_outside(member, (from, to)))
                .transpose()?;
            self.delete_range(member, from, to)?;
            if let Some(remaining) = remaining {
                self.series_at(member).note_newest(remaining);
                self.roll_up_deleted(place, (from, to), newest, now_ms);
            }
        }
        for (timestamp, value) in &rolled_up.samples {
            self.add_sample(
                destination,
                PLAIN_DATA_TYPE,
                Sample::new(*timestamp, *value),
                now_ms,
            )?;
        }
        // As in RedisTimeSeries, a bucket that is computed anew causes no event.
        let is_new = |timestamp: i64| newest.is_none_or(|newest| timestamp > newest);
        if rolled_up.samples.iter().any(|(timestamp, _)| is_new(*timestamp)) {
            self.note_event(EventClasses::MODULE, "ts.add:dest", destination);
        }
        Ok(())
    }
}
