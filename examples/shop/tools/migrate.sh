. /tools/lib.sh
say "migrating to release $(cat /tools/release)"
