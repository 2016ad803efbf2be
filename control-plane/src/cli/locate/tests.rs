//! What is said about an address that is none.

use super::*;

#[test]
fn a_refused_address_is_shown_without_its_password() {
    let refused = |url: &str| {
        let server = ServerAddress {
            server: Some(url.to_owned()),
            ..ServerAddress::default()
        };
        server.authority().unwrap_err().message
    };
    let said = refused("http://ann:secret@mesh:15010");
    assert!(
        said.contains("found a URL with a user name, allowed") && !said.contains("secret"),
        "{said}"
    );
    assert!(refused("mesh").contains("found `mesh`, allowed"));
}
