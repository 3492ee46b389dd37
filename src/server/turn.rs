//! One turn of a connection: the commands it has run, the hops it has gathered, and the order of their replies.

use crate::command::{Command, CommandId, Flags, Merge};
use crate::resp::{Proto, Reply};

use super::commit::Change;
use super::message::{Hop, Parts};

/// A piece of the answer, in the order of the requests.
pub enum Piece {
    /// Written here, from and to these bytes of the turn's buffer.
    Local(usize, usize),
    /// The reply of command `index` of the hop to `lane`.
    Remote {
        /// The lane.
        lane: usize,
        /// Index in its hop.
        index: usize,
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
    /// Hops by lane.
    pub hops: Vec<Option<Box<Hop>>>,
    /// Any of `hops` is there.
    pub has_hops: bool,
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
}

impl Turn {
    /// An empty turn for a server of so many lanes.
    pub fn new(lanes: usize) -> Turn {
        Turn {
            reply: Reply::new(Proto::Resp2),
            hops: (0..lanes).map(|_| None).collect(),
            has_hops: false,
            changes: Vec::new(),
            owes: false,
            writes_elsewhere: false,
            reads_elsewhere: false,
            counts: Vec::new(),
            read_at_ns: 0,
            ran_at_ns: 0,
            pieces: Vec::new(),
            placed: 0,
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

    /// Puts what was written here since the last piece into the order.
    pub fn place_local(&mut self) {
        if self.reply.len() > self.placed {
            self.pieces.push(Piece::Local(self.placed, self.reply.len()));
            self.placed = self.reply.len();
        }
    }

    /// The reply of the last command of the hop to `lane` comes next.
    pub fn place_remote(&mut self, lane: usize) {
        self.place_local();
        let index = self
            .hops
            .get(lane)
            .and_then(Option::as_ref)
            .map_or(0, |hop| hop.len().saturating_sub(1));
        self.pieces.push(Piece::Remote { lane, index });
    }

    /// The next `count` pieces become one reply.
    pub fn place_join(&mut self, merge: Merge, count: usize) {
        self.place_local();
        self.pieces.push(Piece::Join { merge, count });
    }

    /// The hop to `lane`, begun if there is none.
    pub fn hop(&mut self, lane: usize, client: u64, proto: Proto) -> &mut Hop {
        self.has_hops = true;
        let slot = self
            .hops
            .get_mut(lane)
            .expect("invariant: keys live on lanes that exist");
        slot.get_or_insert_with(|| Box::new(Hop::new(client, proto, None)))
    }

    /// Puts the whole answer together; `parts` are the hops' answers by lane. Without hops the buffer is the answer.
    pub fn assemble(&mut self, parts: &[Option<Parts>], out: &mut Vec<u8>) {
        self.place_local();
        let local = self.reply.as_bytes();
        let piece_bytes = |piece: &Piece| match piece {
            Piece::Local(start, end) => local.get(*start..*end).unwrap_or(&[]),
            Piece::Remote { lane, index } => parts
                .get(*lane)
                .and_then(Option::as_ref)
                .map_or(&[][..], |parts| parts.get(*index)),
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
        self.placed = 0;
    }

    /// Where the answer stands, to be given to [`Turn::take_back`].
    pub fn mark(&self) -> (usize, usize) {
        (self.reply.len(), self.pieces.len())
    }

    /// Takes back what has been answered since `mark`; hops are sent all the same.
    pub fn take_back(&mut self, (reply_len, pieces): (usize, usize)) {
        self.pieces.truncate(pieces);
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
        self.placed = 0;
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
        let mut turn = Turn::new(2);
        turn.reply.ok();
        turn.hop(1, 0, Proto::Resp2).push(0, 0, false, std::iter::empty());
        turn.place_remote(1);
        turn.reply.integer(7);
        turn.place_join(Merge::Sum, 2);
        turn.reply.integer(2);
        turn.place_local();
        turn.hop(1, 0, Proto::Resp2).push(0, 0, true, std::iter::empty());
        turn.place_remote(1);
        turn.reply.ok();
        let parts = Parts {
            bytes: b"$1\r\nx\r\n:3\r\n".to_vec(),
            ends: vec![7, 11],
        };
        let mut out = Vec::new();
        turn.assemble(&[None, Some(parts)], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "+OK\r\n$1\r\nx\r\n:7\r\n:5\r\n+OK\r\n"
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
