//! Telling clients what was published, and what has happened to keys.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::Order;
use crate::command::pubsub::Message;
use crate::lane::{EventClasses, KeyEvent};
use crate::resp::Reply;

use super::event::Signal;
use super::lane_shell::LaneShell;
use super::message::LaneRequest;
use super::requests::ask_all;

/// Events told together.
const EVENTS_PER_ROUND_MAX: usize = 4_096;

/// Events of this lane's keys that are to be told.
#[derive(Default)]
pub struct Notices {
    events: RefCell<Vec<KeyEvent>>,
    work: Signal,
}

impl Notices {
    /// These have happened, in this order.
    pub fn add(&self, events: Vec<KeyEvent>) {
        if !events.is_empty() {
            self.events.borrow_mut().extend(events);
            self.work.raise();
        }
    }
}

/// Tells an event that spans lanes, if it is listened to.
pub fn note(shell: &LaneShell, class: EventClasses, name: &'static str, key: &[u8]) {
    let wanted = EventClasses(shell.shared.event_classes.load(Ordering::Relaxed));
    if wanted.has(class) {
        let key = key.into();
        shell.notices.add(vec![KeyEvent { name, key }]);
    }
}

/// Tells every lane what has happened to this lane's keys, one round after the other: runs for ever.
pub async fn notice_loop(shell: Rc<LaneShell>) {
    loop {
        shell.notices.work.wait().await;
        loop {
            let events: Vec<KeyEvent> = {
                let mut waiting = shell.notices.events.borrow_mut();
                let count = waiting.len().min(EVENTS_PER_ROUND_MAX);
                waiting.drain(..count).collect()
            };
            if events.is_empty() {
                break;
            }
            let classes = EventClasses(shell.shared.event_classes.load(Ordering::Relaxed));
            let messages: Arc<[Message]> = events
                .iter()
                .flat_map(|event| messages_of(event, classes))
                .collect();
            if !messages.is_empty() {
                ask_all(&shell, |_| LaneRequest::Order(Order::Publish(messages.clone()))).await;
            }
        }
    }
}

fn messages_of(event: &KeyEvent, classes: EventClasses) -> impl Iterator<Item = Message> {
    let of_key = classes.has(EventClasses::KEYSPACE).then(|| Message {
        channel: [&b"__keyspace@0__:"[..], &event.key].concat().into(),
        payload: event.name.as_bytes().into(),
        is_sharded: false,
    });
    let of_event = classes.has(EventClasses::KEYEVENT).then(|| Message {
        channel: [&b"__keyevent@0__:"[..], event.name.as_bytes()].concat().into(),
        payload: event.key.clone(),
        is_sharded: false,
    });
    of_key.into_iter().chain(of_event)
}

/// Hands messages to this lane's clients; returns how many subscriptions they fitted.
pub fn publish(shell: &LaneShell, messages: &[Message]) -> u64 {
    let mut times = 0;
    for client in shell.clients.borrow().values() {
        let session = client.session.borrow();
        let Some(subscriptions) = &session.subscriptions else {
            continue;
        };
        let mut reply = Reply::new(session.proto);
        for message in messages {
            times += subscriptions.write(message, &mut reply);
        }
        if !reply.is_empty() && !client.push(reply.as_bytes()) {
            log::warn!("client {}: does not take its messages, closed", session.address);
        }
    }
    times
}
