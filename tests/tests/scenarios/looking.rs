//! Looking into a journal: what a crank was lost for is there to be read, and all of it verifies.

use crankcase::inspect::{Inspection, RecordView};
use crankcase::{Cause, Limits};
use crankcase_tests::{Said, Scratch, Step, in_every_shape};

#[test]
fn a_lost_crank_shows_why() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let limits = {
            let mut limits = Limits::default();
            limits.calls = 3;
            limits
        };
        let host = shape.open_with(scratch.dir(), |builder| builder.limits(limits));
        let (vat, neighbour) = (host.actor(), host.actor());
        let panicked = host.play(vat, &[Step::Panic]);
        assert_eq!(panicked.unwrap_err().cause(), Cause::Panicked);
        let greedy = vec![Step::Set(b"key".to_vec(), b"value".to_vec()); 4];
        assert_eq!(host.play(vat, &greedy).unwrap_err().cause(), Cause::Limit);
        assert_eq!(host.said(neighbour, &[Step::Add(1)]), [Said::Number(1)]);
        assert_eq!(host.said(vat, &[Step::Add(2)]), [Said::Number(2)]);
        host.close();

        let before = scratch.contents();
        let inspection = Inspection::open(scratch.dir()).unwrap();
        let summary = inspection.summary().unwrap();
        assert_eq!(summary.pending_deliveries, 0);
        assert_eq!(summary.vats_by_kind.values().sum::<u64>(), 2);
        let mut lost = Vec::new();
        for seq in summary.first_seq..=summary.last_seq {
            let record = inspection.record(seq).unwrap();
            assert!(record.to_string().starts_with(&format!("record {seq}: ")));
            if let RecordView::Crank {
                rejection: Some(why),
                note,
                acts,
                ..
            } = record
            {
                assert!(acts.is_empty(), "nothing of a lost crank happened");
                lost.push((why.cause(), note.is_some()));
            }
        }
        assert_eq!(lost, [(Cause::Panicked, true), (Cause::Limit, false)]);
        assert!(inspection.record(summary.last_seq + 1).is_err());
        drop(inspection);
        let report = crankcase::verify::verify(scratch.dir()).unwrap();
        assert!(report.replayed);
        assert_eq!(report.last.get(), summary.last_seq);
        scratch.check_unchanged(&before);
    });
}
