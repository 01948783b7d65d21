fn main() {
    for (f, crd) in dockseal::api::definitions() { println!("# {f}\n{}", serde_saphyr::to_string(&crd).unwrap()); }
}
