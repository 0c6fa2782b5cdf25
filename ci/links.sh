#!/usr/bin/env bash
# Links in the pages lead somewhere, on a code host and in rustdoc. A page links by label,
# and its definitions lead to files. In rustdoc the definitions of docs/links.md come first.
# Here the files, the headings and the labels are checked. rustdoc itself checks the items
# in docs/links.md (`cargo doc` with `-D warnings`, see ci/docs.sh), but not the headings.
# Comments in the code may name pages and their headings, so these are checked too. The tables of
# docs/design/README.md name the files of src. Each named file exists, and each file is in a table.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

# links [PAGE=FILE]...: prints a complaint about each fault, and fails if there is a fault.
# The text of PAGE is read from FILE.
links() {
    perl - "$@" <<'PERL'
use strict;
use warnings;
use open qw(:std :utf8);
use File::Basename qw(dirname);
use File::Find qw(find);

my $shared  = 'docs/links.md';
my %file_of = map { split /=/, $_, 2 } @ARGV;
my ($bad, %headings_of) = (0);

sub complain {
    my ($page, $line, $complaint) = @_;
    print "$page:$line: $complaint\n";
    $bad++;
}

sub slurp {
    my ($page) = @_;
    open my $in, '<', $file_of{$page} // $page or die "$page: $!\n";
    local $/;
    return scalar <$in>;
}

# Brackets in code make no link, so characters that no page has stand for them.
sub hide { my ($text) = @_; $text =~ tr/[]()/\x01\x02\x03\x04/; return $text }
sub show { my ($text) = @_; $text =~ tr/\x01\x02\x03\x04/[]()/; return $text }

# Spaces in place of everything but the ends of lines, so that lines keep their numbers.
sub blank { my ($text) = @_; $text =~ s/[^\n]/ /g; return $text }

# The text of a page without its snippets, and with the brackets of its code hidden.
sub text_of {
    my ($page) = @_;
    my $text = slurp($page);
    $text =~ s/^(\h*(```+|~~~+)[^\n]*\n.*?^\h*\2\h*$)/blank($1)/gems;
    $text =~ s/\\([\[\]()])/' ' . hide($1)/ge;
    $text =~ s/((?<!`)(`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)\2(?!`))/hide($1)/ges;
    return $text;
}

# The text in brackets: it has neither a bracket nor an empty line.
my $inside = qr/(?:[^\[\]\n]|\n(?!\s*\n))+/;

# Calls $found->(line, groups...) for each match in $$text, and blanks the match out.
sub take {
    my ($text, $pattern, $found) = @_;
    while ($$text =~ /$pattern/g) {
        my ($start, $length, @groups) = ($-[0], $+[0] - $-[0], map { $_ // '' } $1, $2, $3);
        my $line = 1 + (substr($$text, 0, $start) =~ tr/\n//);
        substr $$text, $start, $length, blank(substr $$text, $start, $length);
        pos($$text) = $start + $length;
        $found->($line, map { show($_) } @groups);
    }
}

# Labels compare without case, and all white space counts as one space.
sub key { my ($label) = @_; return lc join ' ', split ' ', $label }

# Takes the definitions out of a page's text.
sub definitions {
    my ($page, $text) = @_;
    my %defined;
    take($text, qr/^\h{0,3}\[(?!\^)($inside)\]:\h+(\S+)\h*$/m, sub {
        my ($line, $label, $target) = @_;
        complain($page, $line, "[$label] is defined twice") if $defined{ key($label) };
        $defined{ key($label) } //= { line => $line, label => $label, target => $target };
    });
    return %defined;
}

# The fragments of a page's headings, as code hosts make them.
sub headings {
    my ($page) = @_;
    return $headings_of{$page} //= do {
        my (%headings, %times);
        my $text = text_of($page);
        take(\$text, qr/^\h{0,3}#{1,6}\h+([^\n]*?)\h*#*\h*$/m, sub {
            my $slug = lc $_[1];
            $slug =~ s/\[([^\[\]]*)\](?:\[[^\[\]]*\]|\([^()]*\))/$1/g;
            $slug =~ s/[^\w\- ]//g;
            $slug =~ tr/ /-/;
            my $before = $times{$slug}++;
            $headings{ $before ? "$slug-$before" : $slug } = 1;
        });
        \%headings;
    };
}

sub is_outside { my ($target) = @_; return $target =~ m{^(?:https?://|mailto:)} }

# The file that a target in a page leads to.
sub file_at {
    my ($page, $target) = @_;
    my ($path) = split /#/, $target;
    return $page if $path eq '';
    my $file = dirname($page) . "/$path";
    1 while $file =~ s{(^|/)\./}{$1} || $file =~ s{(^|/)(?!\.\./)[^/]+/\.\./}{$1};
    return $file;
}

# Why a target in a page leads nowhere, or nothing.
sub broken {
    my ($page, $target) = @_;
    return if is_outside($target);
    my $file = file_at($page, $target);
    return "there is no $file" unless -f $file;
    my (undef, $fragment) = split /#/, $target, 2;
    return unless defined $fragment;
    return if $file =~ /\.md$/ && headings($file)->{$fragment};
    return "$file has no heading #$fragment";
}

# The pages that rustdoc shows, and the path of each. src/pages.rs lists them; the front
# page is in src/lib.rs.
my %path_of;
for my $module ('src/lib.rs', 'src/pages.rs') {
    my $code = slurp($module);
    while ($code =~ m{include_str!\("\.\./([^"]+\.md)"\)|"([^"]+)" => (\w+),}g) {
        my ($page, @name) = $1 // ("docs/$2.md", $3);
        my @folders = grep { $_ ne 'docs' && $_ ne '.' } split m{/}, dirname($page);
        $path_of{$page} = join '::', 'crate', @folders, @name unless $page eq $shared;
    }
}
my %page_at = reverse %path_of;

my $shared_text = text_of($shared);
my %shared      = definitions($shared, \$shared_text);
my %shared_used;

my @pages = qw(README.md CHANGELOG.md);
find({ no_chdir => 1, wanted => sub { push @pages, $_ if /\.md$/ && $_ ne $shared } }, 'docs');
for my $page (sort @pages) {
    my $text    = text_of($page);
    my %defined = definitions($page, \$text);
    my $rustdoc = exists $path_of{$page};
    my %used;
    my $by_label = sub {
        my ($line, $text, $label) = @_;
        $label = $text if $label eq '';
        $used{ key($label) } = 1;
        complain($page, $line, "[$label] is not defined") unless $defined{ key($label) };
    };

    # Images come first, because the text of a link may be an image.
    take(\$text, qr/!\[($inside)\]\(([^()]*)\)/, sub {
        my ($line, undef, $target) = @_;
        my $why = broken($page, $target);
        complain($page, $line, "($target): $why") if $why;
    });
    take(\$text, qr/!\[($inside)\]\[($inside?)\]/, $by_label);
    take(\$text, qr/\[($inside)\]\(([^()]*)\)/, sub {
        my ($line, undef, $target) = @_;
        my $why = broken($page, $target);
        if ($target !~ /^#/ && !is_outside($target)) {
            complain($page, $line, "($target) is relative: link by label");
        }
        elsif ($why) { complain($page, $line, "($target): $why") }
    });
    take(\$text, qr/\[($inside)\]\[($inside?)\]/, $by_label);
    take(\$text, qr/\[($inside)\]/, sub {
        my ($line, $label) = @_;
        $used{ key($label) } = 1;
        complain($page, $line, "[$label] is a link in rustdoc only")
            if $rustdoc && $shared{ key($label) } && !$defined{ key($label) };
    });

    for my $key (sort keys %defined) {
        my ($line, $label, $target) = @{ $defined{$key} }{qw(line label target)};
        my $why = broken($page, $target);
        complain($page, $line, "[$label]: $why") if $why;
        complain($page, $line, "[$label] is defined and not used") unless $used{$key};
        $shared_used{$key} = 1 if $rustdoc && $used{$key};
        next if !$rustdoc || is_outside($target);
        complain($page, $line, "[$label] is not in $shared") unless $shared{$key};
        my $path = $path_of{ file_at($page, $target) };
        complain($page, $line, "[$label] leads elsewhere in $shared")
            if $path && $shared{$key} && $shared{$key}{target} !~ /^\Q$path\E(?:#|$)/;
    }
}

for my $key (sort keys %shared) {
    my ($line, $label, $target) = @{ $shared{$key} }{qw(line label target)};
    complain($shared, $line, "[$label] is used by no page") unless $shared_used{$key};
    my ($path, $fragment) = split /#/, $target, 2;
    my $page = $page_at{$path};
    complain($shared, $line, "[$label]: $page has no heading #$fragment")
        if defined $fragment && $page && !headings($page)->{$fragment};
}

# The design's tables of files begin with `| file of `src/FOLDER` | has |`. A row names its files.
# The models list themselves, and a folder's mod.rs needs no row.
my $design = 'docs/design/README.md';
my ($folder, %in_table);
my $number = 0;
for my $line (split /\n/, slurp($design)) {
    $number++;
    if ($line =~ /^\| file of `([^`]+)` \|/) { $folder = $1; next }
    if ($line !~ /^\|/) { $folder = undef; next }
    next unless defined $folder;
    my (undef, $files) = split /\|/, $line;
    for my $file (map { "$folder/$_" } $files =~ /`([^`]+)`/g) {
        complain($design, $number, "there is no $file") unless -f $file;
        complain($design, $number, "$file is in two rows") if $in_table{$file}++;
    }
}
find({ no_chdir => 1, wanted => sub {
    return unless /\.rs$/ && !m{^src/models/|/mod\.rs$};
    complain($design, $number, "$_ is in no table") unless $in_table{$_};
} }, 'src');

# Pages that comments name, by path or by file.
my @code;
find({ no_chdir => 1, wanted => sub { push @code, $_ if /\.rs$/ } }, qw(src tests examples benches));
for my $file (sort @code) {
    open my $lines, '<', $file_of{$file} // $file or die "$file: $!\n";
    while (my $line = <$lines>) {
        my $number = $.;
        while ($line =~ m{\b(crate(?:::\w+)*)#([\w-]+)}g) {
            my ($page, $fragment) = ($page_at{$1}, $2);
            complain($file, $number, "$page has no heading #$fragment")
                if $page && !headings($page)->{$fragment};
        }
        while ($line =~ m{\b(docs/[\w/-]+\.md)\b}g) {
            complain($file, $number, "there is no $1") unless -f $1;
        }
    }
}
exit($bad > 0);
PERL
}

bad=0
say "links in the pages"
links || bad=1

copy=$(mktemp -d)
trap 'rm -r "$copy"' EXIT

# must_find PAGE COMPLAINT: with $copy/page in the place of PAGE, there is this complaint.
must_find() {
    local page=$1 complaint=$2
    if grep -qF ": $complaint" <(links "$page=$copy/page"); then
        printf 'found in a copy of %s: %s\n' "$page" "$complaint"
    else
        printf 'NOT FOUND in a copy of %s: %s\n' "$page" "$complaint"
        bad=1
    fi
}

# fault PAGE TEXT COMPLAINT: with TEXT at the end of a copy of PAGE, there is this complaint.
fault() {
    { cat "$1" && printf '\n%b\n' "$2"; } >"$copy/page"
    must_find "$1" "$3"
}

# fault_without PAGE START COMPLAINT: without the lines of PAGE that begin with START, there is this
# complaint.
fault_without() {
    awk -v start="$2" 'index($0, start) != 1' "$1" >"$copy/page"
    must_find "$1" "$3"
}

say "faults that must be found"
page=docs/guide/waiting.md
fault $page 'See [timers].\n\n[timers]: nowhere.md' "[timers]: there is no docs/guide/nowhere.md"
fault $page 'See [this][timers].\n\n[timers]: timers.md#no' \
    "[timers]: docs/guide/timers.md has no heading #no"
fault $page 'See [this](#no).' "(#no): $page has no heading #no"
fault $page 'See [timers](timers.md).' "(timers.md) is relative: link by label"
fault $page '![a plot](no.svg)' "(no.svg): there is no docs/guide/no.svg"
fault $page 'See [no].\n\n[no]: timers.md' "[no] is not in docs/links.md"
fault $page 'See [timers].\n\n[timers]: waiting.md' "[timers] leads elsewhere in docs/links.md"
fault $page 'See [timers][no].' "[no] is not defined"
fault $page 'See [timers].' "[timers] is a link in rustdoc only"
fault $page '`[timers]`\n\n[timers]: timers.md' "[timers] is defined and not used"
fault docs/links.md '[no]: crate::guide' "[no] is used by no page"
fault docs/links.md '[waiting]: crate::guide::waiting' "[waiting] is defined twice"
fault docs/links.md '[no]: crate::guide::timers#no' "[no]: docs/guide/timers.md has no heading #no"
fault src/lib.rs '/// [no](crate::guide::timers#no)' "docs/guide/timers.md has no heading #no"
fault src/lib.rs '// See docs/no.md.' "there is no docs/no.md"
page=docs/design/README.md
fault $page '| file of `src/pool` | has |\n|---|---|\n| `no.rs` | x |' "there is no src/pool/no.rs"
fault $page '| file of `src/pool` | has |\n|---|---|\n| `timer.rs` | x |' \
    "src/pool/timer.rs is in two rows"
fault_without $page '| `timer.rs` |' "src/pool/timer.rs is in no table"

((bad == 0)) || fail "links"
