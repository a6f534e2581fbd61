# A directory and its manifest, in plain sh:
#   sh tree.sh needed TREE ROUNDS    print the actions that TREE still needs, one JSON object a line
#   sh tree.sh make TREE PATH        make a file what the manifest says
#   sh tree.sh is-right TREE PATH    tell by the exit status whether it is
# Each line of the manifest is a mode, a path and the one line that the file holds. Paths are made of plain characters.
set -eu
manifest=manifest.txt

line_of() { awk -v path="$1" '$2 == path' "$manifest"; }

text_of() { line_of "$1" | sed 's/^[^ ]* [^ ]* //'; }

is_right() {
    mode=$(line_of "$2" | cut -d ' ' -f 1)
    test -n "$(find "$1/$2" -type f -perm "$mode" 2>/dev/null)" && test "$(cat "$1/$2")" = "$(text_of "$2")"
}

make() {
    rm -rf "$1/$2.new"
    text_of "$2" >"$1/$2.new"
    chmod "$(line_of "$2" | cut -d ' ' -f 1)" "$1/$2.new"
    mv -f "$1/$2.new" "$1/$2"
}

needed() {
    count=0
    for path in $(cut -d ' ' -f 2 "$manifest"); do
        if ! is_right "$1" "$path"; then
            count=$((count + 1))
            printf '{"name": "make %s", "pre": "mkdir -p %s", "perform": "sh tree.sh make %s %s", "post": "sh tree.sh is-right %s %s"}\n' \
                "$path" "$(dirname "$1/$path")" "$1" "$path" "$1" "$path"
        fi
    done
    for file in $(test ! -d "$1" || find "$1" ! -type d); do
        if test -z "$(line_of "${file#"$1"/}")"; then
            count=$((count + 1))
            printf '{"name": "remove %s", "perform": "rm -f %s"}\n' "${file#"$1"/}" "$file"
        fi
    done
    if test "$count" -eq 0 && test "$RUNWRIGHT_ROUND" -lt "$2"; then
        printf '{"name": "look again after round %s of %s", "perform": "true"}\n' "$RUNWRIGHT_ROUND" "$2"
    fi
}

case $1 in
    needed) needed "$2" "$3" ;;
    make) make "$2" "$3" ;;
    is-right) is_right "$2" "$3" ;;
esac
