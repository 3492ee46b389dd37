//! One turn of a connection: the commands it has run, the hops it has gathered, and the order of their replies.

use crate::command::{Command, CommandId, Flags, Merge};
use crate::resp::{Proto, Reply};

use super::chains::Chained;
use super::commit::{Change, CommitQueue};
use super::message::{Hop, Ticket};

/// A piece of the answer, in the order of the requests.
pub enum Piece {
    /// Written here, from and to these bytes of the turn's buffer.
    Local(usize, usize),
    /// The replies of commands `first` to before `end` of the hop to `lane`.
    Remote {
        /// The lane.
        lane: usize,
        /// First index in its hop.
        first: usize,
        /// Behind the last one.
        end: usize,
    },
    /// The next `count` pieces become one reply.
    Join {
        /// How.
        merge: Merge,
        /// So many.
        count: usize,
    },
}

/// See the head of the file.
pub struct Turn {
    /// Replies of commands run here.
    pub reply: Reply,
    /// Hops by lane, with their replies once they are back. Empty until the first one is begun.
    pub hops: Vec<Option<Box<Hop>>>,
    /// Lanes that hops go to, and the tickets that they were sent with.
    pub targets: Vec<(usize, Option<Ticket>)>,
    /// Commits that the replies wait for.
    pub changes: Vec<Change>,
    /// One of them owes rollups to keys elsewhere.
    pub owes: bool,
    /// A command in a hop writes, and may owe rollups.
    pub writes_elsewhere: bool,
    /// A command in a hop looks at what rollups write.
    pub reads_elsewhere: bool,
    /// Commands of this turn by id, for the time from bytes read to reply written.
    pub counts: Vec<(CommandId, u64)>,
    /// Monotonic nanoseconds at which the turn's bytes had been read.
    pub read_at_ns: u64,
    /// Monotonic nanoseconds at which its last timed command had run; 0 = none has.
    pub ran_at_ns: u64,
    pieces: Vec<Piece>,
    /// Bytes of the buffer up to here are in `pieces`.
    placed: usize,
    /// Pieces from here on may grow: none of them is part of a join.
    growing_from: usize,
}

impl Turn {
    /// An empty turn.
    pub fn new() -> Turn {
        Turn {
            reply: Reply::new(Proto::Resp2),
            hops: Vec::new(),
            targets: Vec::new(),
            changes: Vec::new(),
            owes: false,
            writes_elsewhere: false,
            reads_elsewhere: false,
            counts: Vec::new(),
            read_at_ns: 0,
            ran_at_ns: 0,
            pieces: Vec::new(),
            placed: 0,
            growing_from: 0,
        }
    }

    /// A command goes into a hop.
    #[inline]
    pub fn note_elsewhere(&mut self, command: &Command) {
        if command.may_see_rollups() {
            self.writes_elsewhere |= command.flags.has(Flags::WRITE);
            self.reads_elsewhere |= !command.only_adds();
        }
    }

    /// True if the turn has to be answered before `command` may run, so that whoever closes a bucket sees the rollup, and
    /// whoever looks before that does not. A row of samples stays one turn, and so does a row of reads.
    #[inline]
    pub fn comes_first(&self, command: &Command, has_rules: impl FnOnce() -> bool) -> bool {
        if !(self.owes || self.writes_elsewhere || self.reads_elsewhere) || !command.may_see_rollups() {
            return false;
        }
        if command.only_adds() {
            self.reads_elsewhere && has_rules()
        } else {
            self.owes || (self.writes_elsewhere && has_rules())
        }
    }

    /// Counts a command.
    #[inline]
    pub fn count(&mut self, id: CommandId, times: u64) {
        match self.counts.last_mut() {
            Some((last, count)) if *last == id => *count += times,
            _ => self.counts.push((id, times)),
        }
    }

    /// Remembers a commit to wait for.
    #[inline]
    pub fn wait_for(&mut self, change: Change) {
        self.owes |= change.owes;
        if self.changes.last() != Some(&change) && !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// What the rollups of this turn have caused behind them; its commits are done and its hops are back.
    #[inline]
    pub fn chained(&self, commits: &CommitQueue) -> Chained {
        let mut chained = match self.owes {
            true => commits.chained_after(&self.changes),
            false => Vec::new(),
        };
        for (lane, _) in &self.targets {
            let hop = self.hops.get(*lane).and_then(Option::as_ref);
            chained.extend(hop.iter().flat_map(|hop| &hop.chained));
        }
        chained
    }

    /// Puts what was written here since the last piece into the order.
    pub fn place_local(&mut self) {
        if self.reply.len() > self.placed {
            self.pieces.push(Piece::Local(self.placed, self.reply.len()));
            self.placed = self.reply.len();
        }
    }

    /// The reply of the last command of the hop to `lane` comes next. It can be taken back alone only if `is_apart`.
    #[inline]
    pub fn place_remote(&mut self, lane: usize, is_apart: bool) {
        self.place_local();
        let hop = self.hops.get(lane).and_then(Option::as_ref);
        let end = hop.map_or(0, |hop| hop.len());
        let before = end.saturating_sub(1);
        if !is_apart
            && self.pieces.len() > self.growing_from
            && let Some(Piece::Remote {
                lane: last_lane,
                end: last_end,
                ..
            }) = self.pieces.last_mut()
            && (*last_lane, *last_end) == (lane, before)
        {
            *last_end = end;
            return;
        }
        self.pieces.push(Piece::Remote {
            lane,
            first: before,
            end,
        });
        if is_apart {
            self.growing_from = self.pieces.len();
        }
    }

    /// The next `count` pieces become one reply; those of other lanes have to be placed apart.
    pub fn place_join(&mut self, merge: Merge, count: usize) {
        self.place_local();
        self.pieces.push(Piece::Join { merge, count });
    }

    /// The hop to `lane`, one of `lanes`; `begin` makes it if there is none.
    #[inline]
    pub fn hop(&mut self, lane: usize, lanes: usize, begin: impl FnOnce() -> Box<Hop>) -> &mut Hop {
        if self.hops.is_empty() {
            self.hops.resize_with(lanes, || None);
        }
        let slot = self
            .hops
            .get_mut(lane)
            .expect("invariant: keys live on lanes that exist");
        if slot.is_none() {
            self.targets.push((lane, None));
        }
        slot.get_or_insert_with(begin)
    }

    /// Puts the whole answer together; the hops are back. Without hops the buffer is the answer.
    pub fn assemble(&mut self, out: &mut Vec<u8>) {
        self.place_local();
        let local = self.reply.as_bytes();
        let hops = &self.hops;
        let piece_bytes = |piece: &Piece| match piece {
            Piece::Local(start, end) => local.get(*start..*end).unwrap_or(&[]),
            Piece::Remote { lane, first, end } => hops
                .get(*lane)
                .and_then(Option::as_ref)
                .map_or(&[][..], |hop| hop.replies(*first, *end)),
            Piece::Join { .. } => &[],
        };
        let mut pieces = self.pieces.iter();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Join { merge, count } => {
                    let group: Vec<&[u8]> = pieces.by_ref().take(*count).map(piece_bytes).collect();
                    join(*merge, &group, out);
                }
                piece => out.extend_from_slice(piece_bytes(piece)),
            }
        }
        self.pieces.clear();
        (self.placed, self.growing_from) = (0, 0);
    }

    /// Where the answer stands, to be given to [`Turn::take_back`].
    pub fn mark(&self) -> (usize, usize) {
        (self.reply.len(), self.pieces.len())
    }

    /// Takes back what has been answered since `mark`; hops are sent all the same.
    pub fn take_back(&mut self, (reply_len, pieces): (usize, usize)) {
        self.pieces.truncate(pieces);
        self.growing_from = self.growing_from.min(pieces);
        self.placed = self.placed.min(reply_len);
        self.reply.truncate(reply_len);
    }

    /// True if the answer is not simply what was written here.
    pub fn needs_assembly(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Makes ready for the next turn.
    pub fn clear(&mut self) {
        self.reply.clear();
        self.pieces.clear();
        (self.placed, self.growing_from) = (0, 0);
        self.changes.clear();
        (self.owes, self.writes_elsewhere, self.reads_elsewhere) = (false, false, false);
        self.counts.clear();
    }
}

/// Makes one reply of the replies of a split command's groups.
pub fn join(merge: Merge, group: &[&[u8]], out: &mut Vec<u8>) {
    let is_error = |reply: &&&[u8]| reply.first() == Some(&b'-');
    if merge != Merge::Each
        && let Some(error) = group.iter().find(is_error)
    {
        out.extend_from_slice(error);
        return;
    }
    let mut reply = Reply::new(Proto::Resp2);
    match merge {
        Merge::Array | Merge::Each => {
            reply.array(group.len());
            out.extend_from_slice(reply.as_bytes());
            group.iter().for_each(|part| out.extend_from_slice(part));
            return;
        }
        Merge::Sum => {
            let number = |part: &&[u8]| {
                let digits = part
                    .strip_prefix(b":")
                    .and_then(|part| part.strip_suffix(b"\r\n"));
                digits.and_then(crate::resp::number::parse_i64).unwrap_or(0)
            };
            reply.integer(group.iter().map(number).sum());
        }
        Merge::Ok | Merge::OneIfDone => crate::command::write_outcome(merge, true, &mut reply),
    }
    out.extend_from_slice(reply.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_in_request_order() {
        let mut turn = Turn::new();
        let begin = || Hop::new(0, Proto::Resp2, None);
        let push = |turn: &mut Turn, is_apart: bool| {
            turn.hop(1, 2, begin).push(0, 0, is_apart, std::iter::empty());
            turn.place_remote(1, is_apart);
        };
        turn.reply.ok();
        push(&mut turn, false);
        push(&mut turn, false);
        turn.reply.integer(7);
        turn.place_join(Merge::Sum, 3);
        turn.reply.integer(2);
        turn.place_local();
        push(&mut turn, true);
        push(&mut turn, true);
        push(&mut turn, false);
        let mark = turn.mark();
        push(&mut turn, true);
        turn.take_back(mark);
        push(&mut turn, false);
        turn.reply.ok();
        assert_eq!(turn.targets, [(1, None)]);
        let hop = turn.hop(1, 2, begin);
        for reply in [
            "$1\r\nx\r\n",
            "+y\r\n",
            ":3\r\n",
            ":4\r\n",
            "+z\r\n",
            "+no\r\n",
            "+w\r\n",
        ] {
            hop.replies.extend_from_slice(reply.as_bytes());
            hop.reply_ends.push(hop.replies.len());
        }
        let mut out = Vec::new();
        turn.assemble(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "+OK\r\n$1\r\nx\r\n+y\r\n:7\r\n:9\r\n+z\r\n+w\r\n+OK\r\n"
        );
    }

    #[test]
    fn an_error_is_the_whole_reply_unless_each_has_its_own() {
        for (merge, expected) in [
            (Merge::Array, "-ERR x\r\n"),
            (Merge::Sum, "-ERR x\r\n"),
            (Merge::Each, "*2\r\n:1\r\n-ERR x\r\n"),
        ] {
            let mut out = Vec::new();
            join(merge, &[b":1\r\n", b"-ERR x\r\n"], &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
