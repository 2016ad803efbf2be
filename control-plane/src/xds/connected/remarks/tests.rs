//! How much is kept of nodes that nobody sees.

use super::*;

fn remark() -> Vec<String> {
    vec!["otherwise".to_owned()]
}

#[test]
fn thousands_of_names_leave_no_more_than_some_and_those_for_minutes_only() {
    let start = Instant::now();
    let mut remarks = Remarks::default();
    for number in 0..5_000_u64 {
        let at = start + Duration::from_millis(number);
        remarks.said(format!("n/s/i{number}"), remark(), at);
    }
    assert_eq!(remarks.0.len(), NODES_MAX);
    assert_eq!(remarks.of("n/s/i4999"), remark());
    assert!(remarks.of("n/s/i3999").is_empty(), "the oldest go");
    remarks.said("n/s/late".to_owned(), remark(), start + 2 * KEPT_FOR);
    assert_eq!(remarks.0.len(), 1);
    remarks.said("n/s/late".to_owned(), Vec::new(), start + 2 * KEPT_FOR);
    assert!(remarks.0.is_empty());
}
