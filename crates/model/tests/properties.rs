//! What must hold of the nouns of Slurm, whatever the text.

use std::collections::BTreeSet;

use model::SignedDuration;
use model::slurm::{
    Conclusion, ExitCode, JobPart, JobState, NodeList, NodeName, SlurmJobId, TaskSet, TimeLimit, Uid,
    hostlist, time,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Texts that look like what Slurm prints, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9 _:;+%.,\\[\\]-]{0,30}", "CANCELLED( by [0-9]{0,12})?.?", any::<String>()]
}

fn node() -> impl Strategy<Value = NodeName> {
    "[a-c]?[0-9]{1,3}((-[ab])?[0-9]{1,3})?".prop_map(|name| name.parse().expect("a name"))
}

fn id() -> impl Strategy<Value = SlurmJobId> {
    let part = prop_oneof![
        Just(JobPart::Whole),
        any::<u32>().prop_map(JobPart::Task),
        any::<u32>().prop_map(JobPart::Component)
    ];
    let cluster = option::of("[a-z][a-z0-9-]{0,8}".prop_map(|name| name.parse().expect("a name")));
    (1u32.., part, cluster).prop_map(|(job, part, cluster)| SlurmJobId { job, part, cluster })
}

proptest! {
    #![proptest_config(ProptestConfig {
        // By default proptest looks for a lib.rs above this file, and there is none.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_state_prints_as_it_was_read(text in text()) {
        let state = JobState::from(text.as_str());
        prop_assert_eq!(JobState::from(state.to_string()), state.clone());
        if let JobState::Other(kept) = &state {
            prop_assert_eq!(&**kept, &*text);
            prop_assert_eq!(state.conclusion(), Conclusion::Unknown);
        }
    }

    #[test]
    fn who_cancelled_is_read_back(uid: u32) {
        let state = JobState::Cancelled { by: Some(Uid(uid)) };
        prop_assert_eq!(JobState::from(state.to_string()), state);
    }

    #[test]
    fn an_exit_code_is_read_back(code: u8, signal in option::of(1u8..)) {
        let exit = ExitCode { code, signal };
        prop_assert_eq!(exit.to_string().parse(), Ok(exit));
    }

    #[test]
    fn an_id_is_read_back(id in id()) {
        prop_assert_eq!(id.to_string().parse(), Ok(id.clone()));
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<SlurmJobId>(&json).unwrap(), id);
    }

    #[test]
    fn a_duration_is_read_back(seconds in 0i64..50_000_000_000) {
        let duration = SignedDuration::from_secs(seconds);
        prop_assert_eq!(time::parse(&time::show(duration)), Ok(duration));
    }

    #[test]
    fn nodes_are_put_together_and_apart(nodes in btree_set(node(), 0..40)) {
        let list = NodeList::of(&nodes);
        let back = list.expand().unwrap();
        prop_assert_eq!(back.len(), nodes.len(), "{}", list);
        prop_assert_eq!(back.into_iter().collect::<BTreeSet<_>>(), nodes);
    }

    #[test]
    fn tasks_are_those_of_the_list(tasks in btree_set(0u32..40, 1..20), limit in option::of(1u32..9)) {
        let list = tasks.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let limited = limit.map_or(list.clone(), |limit| format!("{list}%{limit}"));
        let set: TaskSet = limited.parse().unwrap();
        prop_assert_eq!(set.to_string(), limited);
        prop_assert_eq!(set.limit(), limit);
        prop_assert_eq!((0..50).filter(|task| set.contains(*task)).collect::<BTreeSet<_>>(), tasks);
    }

    #[test]
    fn no_text_is_too_odd(texts in vec(text(), 1..4)) {
        for text in texts {
            let _ = text.parse::<ExitCode>();
            let _ = text.parse::<SlurmJobId>();
            let _ = text.parse::<TimeLimit>();
            let _ = time::instant(&text);
            if let Ok(set) = text.parse::<TaskSet>() {
                let _ = set.contains(u32::MAX);
            }
            if let Ok(nodes) = hostlist::expand(&text) {
                let list = hostlist::compress(&nodes);
                let again: BTreeSet<_> = hostlist::expand(&list).unwrap().into_iter().collect();
                prop_assert_eq!(again, nodes.into_iter().collect::<BTreeSet<_>>());
            }
        }
    }
}
