# Make a repository with two commits in the folder that is named, and print the newer commit.
set -eu
rm -rf "$1"
mkdir -p "$1/books"
cd "$1"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com
git init -q .
echo "the sea was calm and the ship was small" > books/sea.txt
echo "the hill was high and the way was long" > books/hill.txt
echo "the night was cold and the fire was low" > books/night.txt
cat > check.sh <<'CHECK'
# A book is a file with at least one word.
for book in books/*.txt; do
  test "$(wc -w < "$book")" -gt 0 || { echo "$book is empty" >&2; exit 1; }
done
echo "$(ls books | wc -l | tr -d ' ') books are fine"
CHECK
git add .
git commit -q -m "Three books"
git tag v1
echo "the city was loud and the street was wide" > books/city.txt
git add .
git commit -q -m "A fourth one"
git rev-parse HEAD
