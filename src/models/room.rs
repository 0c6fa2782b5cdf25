//! Models of bounded queues: no room is lost or given twice, and no thread waits in vain.

use super::{FOREVER, Spawned, World, long_model, model, named, unit};
use crate::raw::core::cold_state::Settings;
use crate::raw::core::room::{Room, TurnedAway};
use crate::raw::thread::park::thread_waker;
use crate::sync::{Arc, AtomicUsize, Ordering, thread};
use crate::{ReserveError, SubmitError, TaskError};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Waits like the blocking calls.
fn take(room: &Room, refuses: impl Fn() -> bool) -> Result<(), TurnedAway> {
    if room.try_take() {
        return Ok(());
    }
    let waker = thread_waker();
    let Some(ticket) = room.take_or_wait(&waker, refuses)? else {
        return Ok(());
    };
    loop {
        // If the wake-up is lost, the checker finds all threads asleep.
        thread::park();
        if let Poll::Ready(got) = room.poll(ticket, &waker) {
            return got;
        }
    }
}

fn wait(room: &Room) {
    take(room, || false).expect("the waiter is not turned away");
}

/// Takes room and gives it back. If there is no room, joins and leaves the line.
fn give_up(room: &Room) {
    match room.take_or_wait(Waker::noop(), || false) {
        Ok(Some(ticket)) => room.leave(ticket),
        Ok(None) => room.give_back(),
        Err(TurnedAway) => panic!("the waiter was turned away"),
    }
}

/// Asserts that there is room for exactly `n`.
fn has_room(room: &Room, n: usize) {
    for _ in 0..n {
        assert!(room.try_take(), "room was lost");
    }
    assert!(!room.try_take(), "room was given twice");
}

fn spawn(room: &Arc<Room>, f: impl FnOnce(&Room) + Send + 'static) -> thread::JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || f(&room))
}

/// Room for one acts as a mutex. The count is wrong if two threads have room at once, or if a
/// thread misses the write of the earlier thread.
#[test]
fn taker_sees_earlier_writes_when_room_returns() {
    model(2, || {
        let room = Arc::new(Room::new(1));
        let count = Arc::new(AtomicUsize::new(0));
        let bump = |count: Arc<AtomicUsize>| {
            move |room: &Room| {
                wait(room);
                let n = count.load(Ordering::Relaxed);
                count.store(n + 1, Ordering::Relaxed);
                room.give_back();
            }
        };
        let others = [(); 2].map(|()| spawn(&room, bump(Arc::clone(&count))));
        bump(Arc::clone(&count))(&room);
        others.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(count.load(Ordering::Relaxed), 3);
        has_room(&room, 1);
    });
}

#[test]
fn two_waiters_get_room_when_two_give_back() {
    model(2, || {
        let room = Arc::new(Room::new(2));
        assert!(room.try_take() && room.try_take());
        let waiter = spawn(&room, wait);
        let giver = spawn(&room, Room::give_back);
        room.give_back();
        wait(&room);
        waiter.join().unwrap();
        giver.join().unwrap();
        has_room(&room, 0);
    });
}

/// The room passes to the waiter that stays, even if the waiter that leaves was served.
#[test]
fn waiter_gives_up_during_return_of_room() {
    model(3, || {
        let room = Arc::new(Room::new(1));
        assert!(room.try_take());
        let leaves = spawn(&room, give_up);
        let waits = spawn(&room, wait);
        room.give_back();
        leaves.join().unwrap();
        waits.join().unwrap();
        has_room(&room, 0);
        room.give_back();
        has_room(&room, 1);
    });
}

/// A thread that then finds room free sees what was done before the room was given back.
#[test]
fn last_waiter_gives_up_during_return_of_room() {
    model(3, || {
        let room = Arc::new(Room::new(1));
        let written = Arc::new(AtomicUsize::new(0));
        assert!(room.try_take());
        let leaves = spawn(&room, give_up);
        let looks = {
            let written = Arc::clone(&written);
            spawn(&room, move |room| {
                if room.try_take() {
                    assert_eq!(written.load(Ordering::Relaxed), 1);
                    room.give_back();
                }
            })
        };
        written.store(1, Ordering::Relaxed);
        room.give_back();
        leaves.join().unwrap();
        looks.join().unwrap();
        has_room(&room, 1);
    });
}

/// Each waiter is served or turned away, and no room that comes back is lost.
#[test]
fn waiters_are_refused_during_return_of_room() {
    model(3, || {
        let room = Arc::new(Room::new(1));
        assert!(room.try_take());
        let refuses = Arc::new(AtomicUsize::new(0));
        let waiter = {
            let (room, refuses) = (Arc::clone(&room), Arc::clone(&refuses));
            thread::spawn(move || {
                if take(&room, || refuses.load(Ordering::Acquire) == 1).is_ok() {
                    room.give_back();
                }
            })
        };
        let giver = spawn(&room, Room::give_back);
        refuses.store(1, Ordering::Release);
        room.turn_away();
        waiter.join().unwrap();
        giver.join().unwrap();
        has_room(&room, 1);
    });
}

fn bounded() -> Settings {
    Settings {
        capacity: Some(1),
        ..named()
    }
}

/// Asserts that there is room for exactly one task after all queued tasks have run.
fn has_room_at_the_end(w: World) -> Vec<u8> {
    w.run_jobs();
    let permit = w.r.try_reserve().expect("room was lost");
    assert_eq!(w.r.try_reserve().unwrap_err(), ReserveError::Full);
    drop(permit);
    w.finish()
}

/// A refused task does not run, and an accepted task runs.
#[test]
fn submission_runs_or_is_refused_when_bounded() {
    long_model(2, || {
        let w = World::new(10, FOREVER, bounded());
        let others = [1, 2].map(|n| w.spawn(move |w| w.r.execute(unit(w.entry(n)))));
        w.r.execute(unit(w.slow_entry(3)))
            .expect("one task finds room");
        let accepted = others.map(Spawned::join);
        let ran = has_room_at_the_end(w);
        for (n, accepted) in [1, 2].into_iter().zip(accepted) {
            assert_eq!(ran.contains(&n), accepted == Ok(()));
            assert!(matches!(accepted, Ok(()) | Err(SubmitError::Full)));
        }
    });
}

/// A task that starts gives its room back. The room passes to the thread that blocks for it.
#[test]
fn thread_submits_when_room_comes_back() {
    model(2, || {
        let w = World::served(bounded());
        let other = w.spawn(|w| {
            let permit = w.r.reserve_blocking().expect("the resource is open");
            permit.execute(unit(w.entry(1))).expect("there is room");
        });
        w.r.execute(unit(w.slow_entry(2))).expect("there is room");
        let third = w.r.execute(unit(w.entry(3)));
        w.serve(1);
        other.join();
        let ran = has_room_at_the_end(w);
        assert!(ran.contains(&1) && ran.contains(&2));
        assert_eq!(ran.contains(&3), third.is_ok());
    });
}

/// The thread that claims the task gives its room back. That thread is the holder, a canceller or a
/// sweep.
#[test]
fn task_gives_room_back_once_when_claims_race() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, bounded());
        let handle = w.spawn(|w| match w.r.try_submit(w.entry(1)) {
            Ok(task) => drop(task.cancel()),
            Err(refused) => drop(refused.into_inner()),
        });
        let sweeper = w.spawn(|w| {
            w.r.cancel_pending();
        });
        let _ = w.r.execute(unit(w.slow_entry(2)));
        handle.join();
        sweeper.join();
        has_room_at_the_end(w);
    });
}

/// The future waits for the room of a task. The future is dropped while that task starts.
#[test]
fn reserve_future_drops_during_return_of_room() {
    model(2, || {
        let w = World::new(10, FOREVER, bounded());
        let other = w.spawn(|w| {
            let mut reserve = w.r.reserve();
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(got) = Pin::new(&mut reserve).poll(&mut cx) {
                drop(got.expect("the resource is open"));
            }
        });
        let _ = w.r.execute(unit(w.slow_entry(1)));
        let _ = w.r.execute(unit(w.entry(2)));
        other.join();
        has_room_at_the_end(w);
    });
}

#[test]
fn waiter_is_refused_when_resource_closes() {
    model(3, || {
        let w = World::new(10, FOREVER, bounded());
        let permit = w.r.try_reserve().expect("the queue is empty");
        let other = w.spawn(|w| match w.r.reserve_blocking() {
            Ok(_) => panic!("there was no room"),
            Err(error) => assert_eq!(error, ReserveError::Closed),
        });
        w.r.close();
        other.join();
        assert_eq!(
            permit.submit(w.entry(1)).wait().map(drop),
            Err(TaskError::Closed)
        );
        assert!(w.finish().is_empty());
    });
}
