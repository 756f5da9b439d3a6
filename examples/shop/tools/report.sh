. /tools/lib.sh
say "nothing to report"
