//! All tables of the language and where they stand.

use super::file::server::{AuthTable, CallerKeyTable, ServerTable, StoreTable};
use super::file::{
    ApiKeyTable, AskTable, AssertionTable, BasicTable, FailureTable, File, GuideTable,
    IdentityTable, OAuthTable, PaginateTable, ParamTable, ProviderTable, RevokeRequestTable,
    TestTable, ToolTable,
};
use super::stray::Place;

pub(super) static PLACES: [Place; 19] = [
    Place { path: &[], keys: &File::KEYS },
    Place { path: &["server"], keys: &ServerTable::KEYS },
    Place { path: &["server", "auth"], keys: &AuthTable::KEYS },
    Place { path: &["server", "auth", "api_keys"], keys: &CallerKeyTable::KEYS },
    Place { path: &["store"], keys: &StoreTable::KEYS },
    Place { path: &["providers", "*"], keys: &ProviderTable::KEYS },
    Place { path: &["providers", "*", "oauth"], keys: &OAuthTable::KEYS },
    Place { path: &["providers", "*", "api_key"], keys: &ApiKeyTable::KEYS },
    Place { path: &["providers", "*", "bearer"], keys: &AskTable::KEYS },
    Place { path: &["providers", "*", "basic"], keys: &BasicTable::KEYS },
    Place { path: &["providers", "*", "failure"], keys: &FailureTable::KEYS },
    Place { path: &["providers", "*", "guide"], keys: &GuideTable::KEYS },
    Place { path: &["providers", "*", "guide", "paginate"], keys: &PaginateTable::KEYS },
    Place { path: &["providers", "*", "oauth", "assertion"], keys: &AssertionTable::KEYS },
    Place { path: &["providers", "*", "oauth", "identity"], keys: &IdentityTable::KEYS },
    Place { path: &["providers", "*", "oauth", "revoke_request"], keys: &RevokeRequestTable::KEYS },
    Place { path: &["tools", "*"], keys: &ToolTable::KEYS },
    Place { path: &["tools", "*", "params", "*"], keys: &ParamTable::KEYS },
    Place { path: &["tools", "*", "tests"], keys: &TestTable::KEYS },
];
