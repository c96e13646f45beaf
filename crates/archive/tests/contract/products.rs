//! Products.

use stampede_archive::{Archive, CreateProduct};
use stampede_domain::{Product, Sku};

use crate::data::{id, product};

pub async fn a_product_is_created_once_and_never_overwritten(archive: &dyn Archive) {
    let first = product("AIR-1", 0);
    assert_eq!(archive.create_product(&first).await.expect("created"), CreateProduct::Created);

    let again = product("AIR-1", 77);
    let CreateProduct::Exists(existing) = archive.create_product(&again).await.expect("answered") else {
        panic!("created twice");
    };
    assert_eq!(existing, first);
    assert!(existing.same_content(&again), "a repetition can be told from a conflict");

    let other = Product { name: "Another".to_owned(), image_url: Some("https://a/b.png".to_owned()), ..first.clone() };
    assert_eq!(archive.create_product(&other).await.expect("answered"), CreateProduct::Exists(first.clone()));
    assert_eq!(archive.product(&first.sku).await.expect("read"), Some(first));
}

pub async fn an_unknown_product_is_none(archive: &dyn Archive) {
    assert_eq!(archive.product(&id("NONE")).await.expect("read"), None);
}

pub async fn products_are_listed_newest_first_with_ties_by_sku(archive: &dyn Archive) {
    for (sku, ms) in [("B", 5), ("A", 5), ("C", 5), ("Z", 1), ("M", 9)] {
        archive.create_product(&product(sku, ms)).await.expect("created");
    }
    let mut listed: Vec<Sku> = Vec::new();
    let mut after = None;
    loop {
        let page = archive.products(after.as_ref(), 2).await.expect("read");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some((last.created_at, last.sku.clone()));
        listed.extend(page.into_iter().map(|product| product.sku));
    }
    assert_eq!(listed.iter().map(Sku::as_str).collect::<Vec<_>>(), ["M", "C", "B", "A", "Z"]);
}
