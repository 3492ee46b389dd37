//! What is sent: the kinds of commands, their mix, and what each may be answered with.

use std::str::FromStr;

use crate::reply::ReplyKind;

/// Largest N of a workload such as `ts_range:N`; a server's own limits may be lower.
const COUNT_MAX: u32 = 1_000_000;

/// One kind of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `PING`.
    Ping,
    /// `SET key value`.
    Set,
    /// `GET key`.
    Get,
    /// `INCR counter`.
    Incr,
    /// `MSET` of so many keys.
    Mset(u32),
    /// `TSDB_SET series timestamp value`.
    TsdbSet,
    /// `TSDB_MSET` of so many samples.
    TsdbMset(u32),
    /// `TSDB_GET` of a range that holds so many preloaded samples.
    TsdbGet(u32),
    /// `TS.ADD series timestamp value`.
    TsAdd,
    /// `TS.MADD` of so many samples.
    TsMadd(u32),
    /// `TS.GET series`.
    TsGet,
    /// `TS.RANGE` over so many preloaded samples.
    TsRange(u32),
    /// The same, averaged over buckets.
    TsRangeAggregated(u32),
    /// `TS.MRANGE` over so many samples of each series of a group.
    TsMrange(u32),
}

/// The names on the command line, with an example count for those that take one.
const NAMES: [(&str, Option<u32>); 14] = [
    ("ping", None),
    ("set", None),
    ("get", None),
    ("incr", None),
    ("mset", Some(10)),
    ("tsdb_set", None),
    ("tsdb_mset", Some(100)),
    ("tsdb_get", Some(1)),
    ("ts_add", None),
    ("ts_madd", Some(100)),
    ("ts_get", None),
    ("ts_range", Some(100)),
    ("ts_range_agg", Some(1000)),
    ("ts_mrange", Some(100)),
];

impl Kind {
    fn parse(name: &str, count: Option<u32>) -> Result<Kind, String> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let Some((_, default)) = known else {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "unknown workload {name:?}; known are {}",
                names.join(", ")
            ));
        };
        if default.is_none() && count.is_some() {
            return Err(format!("{name} takes no count"));
        }
        let count = count.or(*default).unwrap_or(1);
        if !(1..=COUNT_MAX).contains(&count) {
            return Err(format!("the count of {name} must be from 1 to {COUNT_MAX}"));
        }
        Ok(match name {
            "ping" => Kind::Ping,
            "set" => Kind::Set,
            "get" => Kind::Get,
            "incr" => Kind::Incr,
            "mset" => Kind::Mset(count),
            "tsdb_set" => Kind::TsdbSet,
            "tsdb_mset" => Kind::TsdbMset(count),
            "tsdb_get" => Kind::TsdbGet(count),
            "ts_add" => Kind::TsAdd,
            "ts_madd" => Kind::TsMadd(count),
            "ts_get" => Kind::TsGet,
            "ts_range" => Kind::TsRange(count),
            "ts_range_agg" => Kind::TsRangeAggregated(count),
            _ => Kind::TsMrange(count),
        })
    }

    /// The name on the command line, with its count.
    pub fn name(self) -> String {
        match self {
            Kind::Ping => "ping".into(),
            Kind::Set => "set".into(),
            Kind::Get => "get".into(),
            Kind::Incr => "incr".into(),
            Kind::Mset(count) => format!("mset:{count}"),
            Kind::TsdbSet => "tsdb_set".into(),
            Kind::TsdbMset(count) => format!("tsdb_mset:{count}"),
            Kind::TsdbGet(count) => format!("tsdb_get:{count}"),
            Kind::TsAdd => "ts_add".into(),
            Kind::TsMadd(count) => format!("ts_madd:{count}"),
            Kind::TsGet => "ts_get".into(),
            Kind::TsRange(count) => format!("ts_range:{count}"),
            Kind::TsRangeAggregated(count) => format!("ts_range_agg:{count}"),
            Kind::TsMrange(count) => format!("ts_mrange:{count}"),
        }
    }

    /// Keys or samples that one command carries or asks for.
    pub fn items(self) -> u32 {
        match self {
            Kind::Mset(count) | Kind::TsdbMset(count) | Kind::TsMadd(count) => count,
            Kind::TsdbGet(count) | Kind::TsRange(count) => count,
            Kind::TsRangeAggregated(count) | Kind::TsMrange(count) => count,
            _ => 1,
        }
    }

    /// The types that an answer may have, as bits of [`ReplyKind`].
    pub fn expected_replies(self) -> u8 {
        let (simple, integer) = (ReplyKind::Simple as u8, ReplyKind::Integer as u8);
        match self {
            Kind::Ping | Kind::Set | Kind::Mset(_) => simple,
            Kind::Get => ReplyKind::Bulk as u8 | ReplyKind::Null as u8,
            Kind::Incr | Kind::TsAdd => integer,
            Kind::TsdbSet | Kind::TsdbMset(_) => simple | integer,
            _ => ReplyKind::Array as u8,
        }
    }

    /// Fewest elements of an array that count as found; fewer count as a miss.
    pub fn elements_min(self) -> u64 {
        match self {
            Kind::TsdbGet(count) | Kind::TsRange(count) => u64::from(count),
            Kind::TsGet | Kind::TsRangeAggregated(_) | Kind::TsMrange(_) => 1,
            _ => 0,
        }
    }

    /// True if it reads samples.
    pub fn reads_series(self) -> bool {
        use Kind::{TsGet, TsMrange, TsRange, TsRangeAggregated, TsdbGet};
        matches!(
            self,
            TsdbGet(_) | TsGet | TsRange(_) | TsRangeAggregated(_) | TsMrange(_)
        )
    }

    /// True for the commands of RedisTimeSeries.
    pub fn is_ts(self) -> bool {
        use Kind::{TsAdd, TsGet, TsMadd, TsMrange, TsRange, TsRangeAggregated};
        matches!(
            self,
            TsAdd | TsMadd(_) | TsGet | TsRange(_) | TsRangeAggregated(_) | TsMrange(_)
        )
    }

    /// True if its series have to be created first.
    pub fn needs_created_series(self) -> bool {
        self.is_ts() && self != Kind::TsAdd
    }

    /// True if it uses series.
    pub fn uses_series(self) -> bool {
        self.is_ts() || matches!(self, Kind::TsdbSet | Kind::TsdbMset(_) | Kind::TsdbGet(_))
    }

    /// True if it uses keys with values.
    pub fn uses_values(self) -> bool {
        matches!(self, Kind::Set | Kind::Get | Kind::Mset(_))
    }
}

/// Kinds of commands with their shares, written as `NAME[:COUNT][=WEIGHT],...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// The kinds and their weights, none of them 0.
    pub parts: Vec<(Kind, u32)>,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (command, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight = weight
                .parse()
                .ok()
                .filter(|weight| (1..=1_000_000).contains(weight));
            let weight =
                weight.ok_or_else(|| format!("the weight of {command} must be from 1 to 1000000"))?;
            let (name, count) = match command.split_once(':') {
                None => (command, None),
                Some((name, count)) => (
                    name,
                    Some(count.parse().map_err(|_| format!("{count:?} is no count"))?),
                ),
            };
            parts.push((Kind::parse(name, count)?, weight));
        }
        if parts.len() > usize::from(u8::MAX) {
            return Err("too many workloads in the mix".into());
        }
        Ok(Mix { parts })
    }
}

impl Mix {
    /// The mix as it is written on the command line.
    pub fn name(&self) -> String {
        let single = self.parts.len() == 1;
        let names = self.parts.iter().map(|(kind, weight)| match single {
            true => kind.name(),
            false => format!("{}={weight}", kind.name()),
        });
        names.collect::<Vec<_>>().join(",")
    }

    /// True if any of the kinds is such that `test` holds.
    pub fn any(&self, test: impl Fn(Kind) -> bool) -> bool {
        self.parts.iter().any(|(kind, _)| test(*kind))
    }

    /// The largest number of preloaded samples that a command asks for.
    pub fn samples_read_max(&self) -> u64 {
        let counts = self
            .parts
            .iter()
            .filter(|(kind, _)| kind.reads_series())
            .map(|(kind, _)| kind.items());
        counts.max().map_or(0, u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_and_written() {
        let mix: Mix = "get=90,set=10".parse().unwrap();
        assert_eq!(mix.parts, [(Kind::Get, 90), (Kind::Set, 10)]);
        assert_eq!(mix.name(), "get=90,set=10");
        let single: Mix = "tsdb_mset:50".parse().unwrap();
        assert_eq!(single.parts, [(Kind::TsdbMset(50), 1)]);
        assert_eq!(single.name(), "tsdb_mset:50");
    }

    #[test]
    fn every_name_is_understood() {
        for (name, count) in NAMES {
            let mix: Mix = name.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            let written = count.map_or(name.to_string(), |count| format!("{name}:{count}"));
            assert_eq!(mix.name(), written);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", "hset", "get:3", "get=0", "get=x", "mset:0", "mset:x", "get,,set",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
