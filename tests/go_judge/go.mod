// What Docker is built with, as a judge of certificates; mod.rs beside this file builds it.
module dockseal/tests/go_judge

go 1.23
