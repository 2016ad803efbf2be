//! In whatever order things come, and however lists break off, what was said together is what the cluster is.

use proptest::prelude::*;

use super::*;

const KINDS: [Watched; 4] = [
    Watched::Pods,
    Watched::Slices,
    Watched::Services,
    Watched::Documents(Kind::Workload),
];

#[derive(Debug, Clone)]
enum Step {
    /// Something is there, in one of several versions.
    Put(usize, usize, usize),
    Delete(usize, usize),
    /// A list is read anew, whole.
    List(usize),
    /// It breaks off after so many objects. What happens then is not told until it is read again.
    Break(usize, usize),
    Hear,
}

fn step() -> impl Strategy<Value = Step> {
    let (kind, name) = (0..KINDS.len(), 0..4_usize);
    prop_oneof![
        6 => (kind.clone(), name.clone(), 0..6_usize).prop_map(|(kind, name, version)| Step::Put(kind, name, version)),
        2 => (kind.clone(), name).prop_map(|(kind, name)| Step::Delete(kind, name)),
        1 => kind.clone().prop_map(Step::List),
        1 => (kind, 0..3_usize).prop_map(|(kind, number)| Step::Break(kind, number)),
        3 => Just(Step::Hear),
    ]
}

/// Two namespaces, two objects of a kind in each.
fn object(kind: usize, name: usize, version: usize) -> Value {
    let namespace = ["bank", "shop"][name % 2];
    let service = ["account", "ledger"][version % 2];
    let own = ["account", "ledger"][name / 2];
    let mut object = match KINDS[kind] {
        Watched::Pods => {
            let mut pod = pod(
                &format!("p{name}"),
                service,
                &format!("10.0.0.{}", name + 1),
            );
            match version {
                2 => pod["metadata"]["deletionTimestamp"] = json!("2026-11-30T15:00:00Z"),
                3 => pod["spec"]["initContainers"] = json!([]),
                4 => pod["spec"]["serviceAccountName"] = json!("other"),
                _ => {}
            }
            pod
        }
        Watched::Slices => {
            let first = format!("p{}", name % 2);
            let second = format!("p{}", name % 2 + 2);
            let mut slice = slice(service, &[(&first, "10.0.0.1"), (&second, "10.0.0.9")]);
            slice["metadata"]["name"] = json!(format!("s{name}"));
            slice["endpoints"][0]["conditions"]["ready"] = json!(version > 2);
            slice
        }
        Watched::Services => {
            let mut found = service_of(own);
            if version > 3 {
                found["spec"]["selector"]["pod-template-hash"] = json!("p1");
            }
            if version == 5 {
                found["spec"]["ports"][0]["port"] = json!(81);
            }
            found
        }
        Watched::Documents(_) => json!({
            "metadata": {"name": service, "namespace": "bank"}, "spec": {"serviceAccount": own},
        }),
    };
    object["metadata"]["namespace"] = json!(namespace);
    if matches!(KINDS[kind], Watched::Documents(_) | Watched::Services) {
        object["metadata"]["name"] = json!(own);
    }
    for endpoint in object["endpoints"].as_array_mut().into_iter().flatten() {
        endpoint["targetRef"]["namespace"] = json!(namespace);
    }
    object
}

fn service_of(name: &str) -> Value {
    service(name)
}

type Told1 = BTreeMap<usize, usize>;

/// What a cluster that has told these says.
fn fresh(told: &[Told1; 4]) -> Heard {
    let (mut cluster, mut heard) = (Cluster::default(), Heard::default());
    for (kind, objects) in told.iter().enumerate() {
        let objects = objects.iter();
        let objects: Vec<Value> = objects
            .map(|(name, version)| object(kind, *name, *version))
            .collect();
        cluster.list(KINDS[kind], &objects);
    }
    cluster.list_the_rest();
    heard.hear(&mut cluster);
    heard
}

fn same(heard: &Heard, told: &[Told1; 4]) -> Result<(), TestCaseError> {
    let expected = fresh(told);
    for namespace in ["bank", "shop"] {
        for service in ["account", "ledger"] {
            let name = format!("{namespace}/{service}");
            prop_assert_eq!(heard.of(&name), expected.of(&name), "{}", name);
        }
    }
    prop_assert_eq!(heard.objects(), expected.objects());
    Ok(())
}

proptest! {
    #[test]
    fn what_was_said_together_is_what_the_cluster_is(steps in prop::collection::vec(step(), 0..60)) {
        let (mut cluster, mut heard) = (Cluster::default(), Heard::default());
        cluster.list_the_rest();
        heard.hear(&mut cluster);
        // What there is, and what of it was told.
        let (mut there, mut told): ([Told1; 4], [Told1; 4]) = Default::default();
        let mut broken = [false; 4];
        for step in steps {
            match step {
                Step::Put(kind, name, version) => {
                    there[kind].insert(name, version);
                    if !broken[kind] {
                        told[kind].insert(name, version);
                        cluster.put(KINDS[kind], &object(kind, name, version));
                    }
                }
                Step::Delete(kind, name) => {
                    if let Some(version) = there[kind].remove(&name)
                        && !broken[kind]
                    {
                        told[kind].remove(&name);
                        let (name, _) = item(KINDS[kind], &object(kind, name, version));
                        cluster.tell(KINDS[kind], Told::IsNot(name));
                    }
                }
                Step::List(kind) => {
                    broken[kind] = false;
                    told[kind].clone_from(&there[kind]);
                    let objects = there[kind].iter();
                    let objects: Vec<Value> = objects.map(|(name, version)| object(kind, *name, *version)).collect();
                    cluster.list(KINDS[kind], &objects);
                }
                Step::Break(kind, number) => {
                    broken[kind] = true;
                    cluster.tell(KINDS[kind], Told::Begins);
                    for (name, version) in there[kind].iter().take(number) {
                        cluster.put(KINDS[kind], &object(kind, *name, *version));
                    }
                }
                Step::Hear => {
                    heard.hear(&mut cluster);
                    same(&heard, &told)?;
                }
            }
        }
        heard.hear(&mut cluster);
        same(&heard, &told)?;
    }
}
