//! A commit whose answer is lost is found again, or said to be in doubt; never made a second time over somebody else's.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

use super::*;

/// What the transaction brings that puts a commit in force: the pointer. Pieces that are staged before have it quoted.
const COMMIT: &[u8] = br#""commit":""#;

/// The way from a control plane to its etcd.
pub(super) struct Way {
    address: String,
    open: Arc<Mutex<Open>>,
    loses: Arc<Mutex<Loses>>,
    sent: Receiver<()>,
}

/// What goes through.
#[derive(Default)]
struct Open {
    is_closed: bool,
    connections: Vec<TcpStream>,
}

#[derive(Clone, Copy, PartialEq)]
enum Loses {
    Nothing,
    /// All that comes back on the connection that brings the next commit.
    ItsAnswer,
    /// On every connection that brings one.
    AllAnswers,
}

impl Way {
    fn to(member: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (member, loses) = (member.to_owned(), Arc::new(Mutex::new(Loses::Nothing)));
        let (sender, sent) = channel();
        let lost = loses.clone();
        let open = Arc::<Mutex<Open>>::default();
        let opened = open.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(&member)) else {
                    continue;
                };
                let mut open = opened.lock().expect("no panic");
                if open.is_closed {
                    continue;
                }
                let both = [&near, &far].map(|end| end.try_clone().expect("open"));
                open.connections.extend(both);
                drop(open);
                join(&near, &far, (lost.clone(), sender.clone()));
            }
        });
        Self {
            address,
            open,
            loses,
            sent,
        }
    }

    /// Nothing goes through any more, or again.
    pub(super) fn closes(&self, is_closed: bool) {
        let mut open = self.open.lock().expect("no panic");
        open.is_closed = is_closed;
        for connection in open.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn loses(&self, what: Loses) {
        *self.loses.lock().expect("no panic") = what;
    }
}

fn join(near: &TcpStream, far: &TcpStream, (loses, sent): (Arc<Mutex<Loses>>, Sender<()>)) {
    let is_deaf = Arc::new(Mutex::new(false));
    let both = || {
        (
            near.try_clone().expect("open"),
            far.try_clone().expect("open"),
        )
    };
    let ((near, far), deaf) = (both(), is_deaf.clone());
    let back = move |bytes: &[u8]| match *deaf.lock().expect("no panic") {
        true => Ok(()),
        false => (&near).write_all(bytes),
    };
    std::thread::spawn(move || pass(&far, back));
    let (near, far) = both();
    let mut seen = Vec::new();
    let on = move |bytes: &[u8]| {
        seen.extend_from_slice(bytes);
        let is_commit = seen.windows(COMMIT.len()).any(|part| part == COMMIT);
        let mut loses = loses.lock().expect("no panic");
        if is_commit && *loses != Loses::Nothing {
            *is_deaf.lock().expect("no panic") = true;
            if *loses == Loses::ItsAnswer {
                *loses = Loses::Nothing;
            }
            let _ = sent.send(());
        }
        seen.drain(..seen.len().saturating_sub(COMMIT.len() - 1));
        (&far).write_all(bytes)
    };
    std::thread::spawn(move || pass(&near, on));
}

fn pass(mut from: &TcpStream, mut to: impl FnMut(&[u8]) -> std::io::Result<()>) {
    let mut bytes = [0; 16 << 10];
    while let Ok(number @ 1..) = from.read(&mut bytes) {
        if to(&bytes[..number]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
}

impl Etcd {
    /// A control plane behind such a way, and one that has its own.
    pub(super) fn behind(&self, prefix: &str) -> (Way, EtcdStore, EtcdStore) {
        let way = Way::to(&self.server.client);
        let options = EtcdOptions {
            members: vec![way.address.clone()],
            ..self.server.options(prefix)
        };
        let other = self.runtime.block_on(self.server.connect(prefix));
        let one = self.runtime.block_on(connect(options));
        (way, one, other)
    }
}

#[test]
fn a_commit_that_nobody_answers_may_have_been_made_and_that_is_said() {
    let Some(etcd) = Etcd::start() else { return };
    let (way, one, other) = etcd.behind("/doubt");
    one.commit(&commit(1, &["a"], &[])).expect("stored");
    way.loses(Loses::AllAnswers);
    let error = one.commit(&commit(2, &["b"], &[])).expect_err("deaf");
    assert!(
        matches!(error, StoreError::Shared(SharedError::Unanswered { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("usher history"), "{error}");
    assert_eq!(other.load().expect("loaded").number(), 2, "as it was");
}

#[test]
fn a_commit_that_was_made_is_found_though_another_one_came_after_it() {
    let Some(etcd) = Etcd::start() else { return };
    let (way, one, other) = etcd.behind("/after");
    let mut committed = other.committed();
    let many: Vec<String> = (0..200).map(|number| format!("s{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    // The second one is staged.
    for (number, names) in [(1, &["a"][..]), (3, &many[..])] {
        way.loses(Loses::ItsAnswer);
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| one.commit(&commit(number, names, &[])));
            let sent = way.sent.recv_timeout(Duration::from_secs(20));
            sent.expect("sent");
            let made = committed.wait_for(|revision| revision.number == number);
            drop(etcd.runtime.block_on(made).expect("alive"));
            let theirs = other.commit(&commit(number + 1, &["b"], &[]));
            theirs.expect("stored");
            ours.join().expect("no panic").expect("made");
        });
        assert_eq!(one.load().expect("loaded").number(), number + 1);
        assert_eq!(one.committed().borrow().number, number + 1);
    }
    let late = one.commit(&commit(4, &["c"], &[]));
    assert!(matches!(late, Err(StoreError::Conflict { stored: 4, .. })));
}
