//! Notes of facts that are refused for good.

use stampede_archive::{Archive, FactCursor, FactRange, Refusal, RefusalReason};
use stampede_domain::{DeadLetter, Epoch, Fact, FactBody, LogId, Position};

use crate::data::{Place, fact, grant, shard};

const ALL: FactRange = FactRange { from_epoch: Epoch(0), beyond_number: 0 };

fn letter(fact: &Fact) -> DeadLetter {
    DeadLetter::new(fact.clone(), "no room")
}

async fn note(archive: &dyn Archive, letters: &[DeadLetter]) {
    assert_eq!(archive.note_dead_letters(letters).await.expect("noted"), []);
}

async fn noted(archive: &dyn Archive, number: u16) -> Vec<DeadLetter> {
    archive.dead_letters(shard(number), ALL, None, 1_000).await.expect("read")
}

pub async fn a_note_is_kept_once_as_it_was(archive: &dyn Archive) {
    let letters = [
        letter(&grant(Place(1, 1, 1, 1_023), "did:web:a#b ü \u{1F45F} $where")),
        letter(&fact(Place(1, 1, 2, 0), FactBody::Replayed { of: grant(Place(1, 1, 1, 0), "ann").id() })),
    ];
    note(archive, &letters).await;
    let again = DeadLetter::new(letters[0].fact.clone(), "for another reason");
    note(archive, &[again, letters[1].clone()]).await;
    assert_eq!(noted(archive, 1).await, letters);
    let facts = archive.facts(shard(1), ALL, None, 10).await.expect("read");
    assert_eq!(facts, [], "a note is no fact");
    note(archive, &[]).await;
}

pub async fn a_note_of_another_fact_with_its_id_is_refused(archive: &dyn Archive) {
    let first = letter(&fact(Place(1, 1, 2, 0), FactBody::Paused));
    note(archive, std::slice::from_ref(&first)).await;
    let other = letter(&fact(Place(1, 1, 2, 0), FactBody::Resumed));
    let new = letter(&grant(Place(1, 1, 3, 0), "ann"));
    let refusals = archive.note_dead_letters(&[other, new.clone()]).await.expect("answered");
    assert_eq!(refusals, [Refusal { fact: first.fact.id(), index: 0, reason: RefusalReason::Conflict }]);
    assert_eq!(noted(archive, 1).await, [first, new]);
}

pub async fn what_can_never_be_stored_cannot_be_noted(archive: &dyn Archive) {
    let beyond = Fact { number: u64::MAX, ..fact(Place(1, 1, 2, 0), FactBody::Paused) };
    let late = Position { log_id: LogId { ms: 1 << 48, sequence: 0 }, index: 0 };
    let late = Fact { position: late, ..fact(Place(1, 1, 3, 0), FactBody::Paused) };
    let good = letter(&grant(Place(1, 1, 1, 0), "ann"));
    let refusals = archive.note_dead_letters(&[letter(&beyond), good.clone(), letter(&late)]).await.expect("answered");
    assert_eq!(refusals.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [0, 2]);
    assert!(refusals.iter().all(|refusal| matches!(refusal.reason, RefusalReason::Rejected(_))), "{refusals:?}");
    assert_eq!(noted(archive, 1).await, [good]);
}

pub async fn notes_are_read_in_the_order_of_the_log(archive: &dyn Archive) {
    let places = [(1, 3, 0), (1, 3, 1), (1, 10, 0), (2, 2, 7), (2, 11, 0), (3, 11, 0)];
    let mut letters: Vec<DeadLetter> =
        places.iter().map(|(epoch, number, index)| letter(&grant(Place(1, *epoch, *number, *index), "ann"))).collect();
    letters.reverse();
    note(archive, &letters).await;
    note(archive, &[letter(&grant(Place(2, 1, 1, 0), "ann"))]).await;
    letters.reverse();
    assert_eq!(noted(archive, 1).await, letters);
    let range = FactRange { from_epoch: Epoch(2), beyond_number: 2 };
    assert_eq!(archive.dead_letters(shard(1), range, None, 10).await.expect("read"), letters[4..]);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = archive.dead_letters(shard(1), ALL, after, 2).await.expect("read");
        let Some(last) = page.last().map(|letter| &letter.fact) else { break };
        after = Some(FactCursor { epoch: last.epoch, number: last.number, index: last.position.index });
        assert!(page.len() <= 2);
        paged.extend(page);
    }
    assert_eq!(paged, letters);
}
