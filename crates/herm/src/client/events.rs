//! The event stream. It survives the supervisor's re-execution: a new connection begins with a
//! snapshot, so what happened in between is in it and nothing is missed.

use std::io;

use herm_wire::frame::decode;
use herm_wire::{Event, Op, Reply};

use super::{Client, body_of, unreachable, was_cut};
use crate::failure::{Failure, Outcome};

/// Events of one supervisor, the first a snapshot.
#[derive(Debug)]
pub(crate) struct EventStream {
    client: Client,
    subscribed: bool,
}

impl EventStream {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            subscribed: false,
        }
    }

    /// The next event; waits for it.
    pub(crate) fn next(&mut self) -> Outcome<Event> {
        loop {
            match self.try_next() {
                Ok(event) => return event,
                Err(error) if was_cut(&error) => {
                    self.client.reconnect()?;
                    self.subscribed = false;
                }
                Err(error) => return Err(unreachable(self.client.socket(), &error)),
            }
        }
    }

    fn try_next(&mut self) -> io::Result<Outcome<Event>> {
        if !self.subscribed {
            self.client.connection.send(Op::Subscribe)?;
            self.subscribed = true;
        }
        loop {
            let line = self.client.connection.next_line(None)?;
            match read_line(&line) {
                Ok(Line::Event(event)) => return Ok(Ok(*event)),
                // To `subscribe` itself.
                Ok(Line::Reply(reply)) => {
                    if let Err(failure) = body_of(*reply) {
                        return Ok(Err(failure));
                    }
                }
                Err(failure) => return Ok(Err(failure)),
            }
        }
    }
}

/// What a line on a connection with a subscription can be.
#[derive(Debug)]
pub(crate) enum Line {
    /// An event.
    Event(Box<Event>),
    /// A reply to a request on the same connection.
    Reply(Box<Reply>),
}

/// Tells events from replies.
pub(crate) fn read_line(line: &[u8]) -> Outcome<Line> {
    if let Ok(event) = decode::<Event>(line) {
        return Ok(Line::Event(Box::new(event)));
    }
    decode::<Reply>(line)
        .map(|reply| Line::Reply(Box::new(reply)))
        .map_err(|error| {
            Failure::failed(format!("an event can't be read: {error}"))
                .hint("herm and the running supervisor are of different versions")
        })
}
