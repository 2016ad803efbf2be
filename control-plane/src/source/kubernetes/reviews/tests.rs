//! Only a clear yes, for us, of a service account, is one.

use k8s_openapi::api::authentication::v1::UserInfo;

use super::*;

fn yes() -> TokenReviewStatus {
    TokenReviewStatus {
        authenticated: Some(true),
        audiences: Some(vec![AUDIENCE.to_owned()]),
        user: Some(UserInfo {
            username: Some("system:serviceaccount:bank:account".to_owned()),
            extra: Some([(POD_NAME.to_owned(), vec!["account-7d4b".to_owned()])].into()),
            ..UserInfo::default()
        }),
        error: None,
    }
}

#[test]
fn a_yes_names_the_account_and_its_pod() {
    let found = reviewed(yes()).expect("known");
    assert_eq!(found.subject.namespace.as_str(), "bank");
    assert_eq!(found.subject.service_account.as_str(), "account");
    assert_eq!(found.pod.as_deref(), Some("account-7d4b"));
}

#[test]
fn whatever_is_less_than_a_yes_is_a_no() {
    let cases = [
        TokenReviewStatus::default(),
        TokenReviewStatus {
            authenticated: Some(false),
            error: Some("token has expired".to_owned()),
            ..yes()
        },
        TokenReviewStatus {
            authenticated: None,
            ..yes()
        },
        // Does not know audiences.
        TokenReviewStatus {
            audiences: None,
            ..yes()
        },
        TokenReviewStatus {
            audiences: Some(vec!["https://kubernetes.default.svc".to_owned()]),
            ..yes()
        },
        TokenReviewStatus {
            user: None,
            ..yes()
        },
        TokenReviewStatus {
            user: Some(UserInfo {
                username: Some("system:admin".to_owned()),
                ..UserInfo::default()
            }),
            ..yes()
        },
    ];
    for status in cases {
        let text = format!("{status:?}");
        assert!(reviewed(status).is_err(), "{text}");
    }
    let expired = TokenReviewStatus {
        authenticated: Some(false),
        error: Some("token has expired".to_owned()),
        ..TokenReviewStatus::default()
    };
    let said = reviewed(expired).expect_err("no").to_string();
    assert!(said.contains("token has expired"), "{said}");
}

#[test]
fn who_may_not_ask_is_told_so_and_not_that_nobody_answers() {
    let refused = |code: u16| {
        let status = kube::core::Status {
            message: "tokenreviews is forbidden".to_owned(),
            code,
            ..kube::core::Status::default()
        };
        unanswered(Error::Api(Box::new(status)))
    };
    let said = refused(403).to_string();
    assert!(said.contains("tokenreviews is forbidden"), "{said}");
    assert!(said.contains("rights.yaml"), "{said}");
    assert!(matches!(refused(500), NotReviewed::Unreachable(_)));
}
