//! The events of a connection as a program receives them.

use async_channel::{Receiver, RecvError, Sender, TryRecvError};

use crate::event::Event;

/// Maximum number of events that wait to be received, while nobody waits for the answer to a command. Then the driver
/// reads nothing.
pub(crate) const MOST: usize = 1_024;

/// The events of a connection, in the order of the wire, from [`Client::connect`](crate::Client::connect). Drop it if the
/// program wants none.
///
/// While 1,024 events wait, nothing more is read from the connection, so that the server notices a slow program; unless the
/// program waits for the answer to a command: then events wait in memory until that has come. So a loop over the events
/// may ask for something for each of them.
pub struct Events {
    receiver: Receiver<Event>,
    /// Tells the driver that there is room again.
    room: Sender<()>,
}

/// The driver's half.
pub(crate) struct EventSink {
    sender: Sender<Event>,
    pub(crate) room: Receiver<()>,
}

/// Returns both halves.
pub(crate) fn channel() -> (EventSink, Events) {
    let (sender, receiver) = async_channel::unbounded();
    let (told, room) = async_channel::bounded(1);
    (EventSink { sender, room }, Events { receiver, room: told })
}

impl Events {
    /// Waits for the next event.
    ///
    /// # Errors
    /// The driver has stopped, and all its events are received.
    pub async fn recv(&self) -> Result<Event, RecvError> {
        let event = self.receiver.recv().await;
        self.tell_room();
        event
    }

    /// Returns the next event if there is one already.
    ///
    /// # Errors
    /// There is none now, or there will be none.
    pub fn try_recv(&self) -> Result<Event, TryRecvError> {
        let event = self.receiver.try_recv();
        self.tell_room();
        event
    }

    /// Returns the number of events that wait.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Returns whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    fn tell_room(&self) {
        if self.receiver.len() < MOST {
            // One note is enough.
            let _ = self.room.try_send(());
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.receiver.close();
        // A driver that waits for room goes on.
        let _ = self.room.try_send(());
    }
}

impl EventSink {
    pub(crate) fn send(&self, event: Event) {
        // Nobody may want events.
        let _ = self.sender.try_send(event);
    }

    /// Returns whether more may be read while nobody waits for an answer.
    pub(crate) fn has_room(&self) -> bool {
        self.sender.len() < MOST || self.sender.is_closed()
    }
}
