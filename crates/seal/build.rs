//! Generates the protobuf types of the content and of linking; protox parses, so that our own build needs no `protoc` program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../../proto";
    let names = ["content.proto", "link.proto"];
    names.iter().for_each(|name| println!("cargo::rerun-if-changed={folder}/{name}"));
    let descriptors = protox::compile(names, [folder])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
