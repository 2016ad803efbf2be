//! No way for a fetch to end leaves its source under way.

use super::*;
use crate::keys::FetchError;

#[tokio::test]
async fn a_fetch_that_panics_has_failed() {
    let panics = async |is_broken: bool| {
        assert!(!is_broken, "broken");
        Err::<Jwks, _>(FetchError::Slow)
    };
    assert!(flat(tokio::spawn(panics(true)).await).is_err());
    let slow = flat(tokio::spawn(panics(false)).await).expect_err("slow");
    assert_eq!(slow.to_string(), FetchError::Slow.to_string());
}
