//! How other threads reach the one thread that waits.
//!
//! That thread waits in `poll`, which knows descriptors only: so each message
//! through the channel is followed by a ring of an eventfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use rustix::event::{EventfdFlags, eventfd};

/// Sends messages to the waiting thread and wakes it.
#[derive(Debug)]
pub(crate) struct Waker<T> {
    sender: Sender<T>,
    bell: Arc<OwnedFd>,
}

/// Where the waiting thread finds its messages.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    receiver: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// A way to wake a thread, and what that thread keeps.
///
/// # Errors
/// When the system gives no more descriptors.
pub(crate) fn waker<T>() -> io::Result<(Waker<T>, Inbox<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Waker { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

impl<T> Waker<T> {
    /// Sends a message. Nothing happens where nobody waits any more.
    pub(crate) fn send(&self, message: T) {
        if self.sender.send(message).is_ok() {
            // The only failure is a counter at its limit, and then it has rung.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

impl<T> Clone for Waker<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Inbox<T> {
    /// What to poll: readable when there are messages.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// All messages that have come, without waiting.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = T> + '_ {
        // Silenced before the messages are taken: one that comes in between
        // rings again.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        self.receiver.try_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rings<T>(inbox: &Inbox<T>) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(inbox.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_message_rings_until_it_is_taken() {
        let (waker, mut inbox) = waker().unwrap();
        assert!(!rings(&inbox));
        waker.send(1);
        waker.clone().send(2);
        assert!(rings(&inbox));
        assert_eq!(inbox.take().collect::<Vec<_>>(), [1, 2]);
        assert!(!rings(&inbox));
        assert_eq!(inbox.take().next(), None);
    }

    #[test]
    fn nobody_waits_any_more() {
        let (waker, inbox) = waker().unwrap();
        drop(inbox);
        waker.send(1);
    }
}
