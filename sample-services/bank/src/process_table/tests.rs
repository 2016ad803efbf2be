//! The process table is read as the kernel writes it.

use super::*;

#[test]
fn a_name_may_hold_spaces_and_parentheses() {
    let read = parse(Pid::from_raw(7), "7 (a (b) c) S 3 7 7 0 -1 4194560").unwrap();
    let (pid, parent) = (Pid::from_raw(7), Pid::from_raw(3));
    assert_eq!(
        read,
        Entry {
            pid,
            parent,
            name: "a (b) c".into(),
            is_zombie: false
        }
    );
}

#[test]
fn a_dead_child_is_not_found_by_name() {
    let entry =
        |pid, state| parse(Pid::from_raw(pid), &format!("{pid} (account) {state} 3 0")).unwrap();
    let table = ProcessTable(vec![entry(8, "Z")]);
    assert_eq!(table.child(Pid::from_raw(3), "account"), None);
    let table = ProcessTable(vec![entry(9, "S")]);
    assert_eq!(
        table.child(Pid::from_raw(3), "account"),
        Some(Pid::from_raw(9))
    );
}

#[test]
fn a_tree_is_everybody_below_and_nobody_else() {
    let entry =
        |pid, parent| parse(Pid::from_raw(pid), &format!("{pid} (a) S {parent} 1")).unwrap();
    let table = ProcessTable(vec![
        entry(9, 1),
        entry(4, 1),
        entry(5, 4),
        entry(6, 5),
        entry(7, 9),
    ]);
    assert_eq!(table.tree(Pid::from_raw(4)), [4, 5, 6].map(Pid::from_raw));
}

#[test]
fn long_names_are_compared_as_the_kernel_cuts_them() {
    let table = ProcessTable(vec![
        parse(Pid::from_raw(5), "5 (customer-profil) S 3 0").unwrap(),
    ]);
    assert_eq!(
        table.child(Pid::from_raw(3), "customer-profile"),
        Some(Pid::from_raw(5))
    );
}

#[test]
fn this_very_process_is_in_it_and_uses_memory() {
    let own = Pid::this();
    assert!(is_running(own));
    assert!(own_bytes(own).is_some_and(|bytes| bytes > 100_000));
}
