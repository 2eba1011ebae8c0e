//! Reading the machine beside its loop never shows what a crash could take back.

use super::*;
use crate::View;

fn total(view: &View<Toy>) -> Option<u64> {
    view.look(|toy| toy.totals.0.get("total").copied().unwrap_or(0))
}

#[tokio::test]
async fn nobody_sees_what_is_not_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Withheld::open(dir.path(), SETTINGS);
    let view = held.toys.running.view.clone();
    assert_eq!(total(&view), Some(0), "what was recovered is on disk");
    held.toys.ask(Ask::Read).await;
    held.toys.next().await;
    assert_eq!(total(&view), Some(0), "an input without records changes nothing in that");
    for input in [Ask::Add(1), Ask::Add(2), Ask::Read] {
        held.toys.ask(input).await;
    }
    held.await_sync_of(2).await;
    held.await_handled().await;
    assert_eq!(total(&view), None, "seen before the sync was heard of");
    held.say_synced(1);
    assert_eq!(held.toys.next().await, Tell::Total(1));
    held.await_handled().await;
    assert_eq!(total(&view), None, "seen before the second sync was heard of");
    held.say_synced(2);
    for _both in 0..2 {
        assert_eq!(held.toys.next().await, Tell::Total(3));
    }
    held.await_handled().await;
    assert_eq!(total(&view), Some(3));
    // A time-out's record is like any other.
    held.toys.ask(Ask::AlarmIn(Duration::ZERO)).await;
    held.await_sync_of(3).await;
    held.await_handled().await;
    assert_eq!(total(&view), None);
    held.say_synced(3);
    assert_eq!(held.toys.next().await, Tell::Alarm);
    held.await_handled().await;
    assert_eq!(total(&view), Some(1003));
}

#[tokio::test]
async fn nobody_looks_while_an_input_is_handled_or_waits_for_it() {
    let toy = Toy {
        totals: Totals::default(),
        alarm: None,
        room: Room::Ample,
        folders: 0,
        hangs: Arc::default(),
    };
    let view = View::new(toy);
    view.tell(|toy| {
        assert_eq!(total(&view), None);
        toy.folders = 7;
    });
    let both = view.look(|toy| (toy.folders, total(&view)));
    assert_eq!(both, Some((7, Some(0))), "those who look don't keep each other out");
}

#[tokio::test]
async fn nobody_sees_the_state_of_a_loop_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Withheld::open(dir.path(), SETTINGS);
    let view = held.toys.running.view.clone();
    held.toys.ask(Ask::Add(1)).await;
    held.await_sync_of(1).await;
    held.toys.running.handle.stop();
    held.await_handled().await;
    held.say_synced(1);
    assert_eq!(held.toys.next().await, Tell::Total(1));
    held.toys.running.join.await.unwrap().unwrap();
    assert_eq!(total(&view), None, "what is given up at the end may be part of it");
}
