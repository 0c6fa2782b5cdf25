# layering.pl SRC TABLE: prints each arrow between folders of SRC that TABLE does not allow, and
# exits with 1 if there is one. `ci/layering.sh` describes the table.
use strict;
use warnings;

my ($src, $table) = @ARGV;
my (@order, %may, %used, $bad);

sub complain { print "$_[0]\n"; $bad = 1 }

open my $rows, '<', $table or die "$table: $!";
while (<$rows>) {
    s/#.*//;
    my ($folder, @allowed) = split or next;
    # A folder names only folders in earlier rows, so no circle can be written into the table.
    for my $other (@allowed) {
        complain("$folder may not name $other, which does not stand in an earlier row of the table")
            unless exists $may{$other};
    }
    push @order, $folder;
    $may{$folder} = { map { $_ => 1 } @allowed };
}

# The folder that a module path leads to: `raw::core::room` stands in raw/core, `Job` in lib.
sub folder_of {
    my ($folder, $layer) = split /::/, shift;
    $folder .= "/$layer" if $folder eq 'raw' && defined $layer;
    return exists $may{$folder} ? $folder : 'lib';
}

# The code of a file: no comments, no strings, no unit tests.
sub code_of {
    my $file = shift;
    open my $in, '<', $file or die "$file: $!";
    my $text = do { local $/; <$in> };
    $text =~ s/^mod tests \{.*//ms;
    $text =~ s{//[^\n]*}{}g;
    $text =~ s/"(?:[^"\\]|\\.)*"/""/g;
    return $text;
}

# The paths that a `use` tree names, after `crate::`.
sub paths_of {
    my ($before, $tree) = @_;
    return "$before$tree" unless $tree =~ /^([^{]*)\{(.*)\}$/s;
    my ($stem, $body, $depth, $part, @paths) = ($before . $1, $2, 0, '');
    for my $char (split //, "$body,") {
        $depth++ if $char eq '{';
        $depth-- if $char eq '}';
        if ($char eq ',' && $depth == 0) {
            push @paths, paths_of($stem, $part) if $part =~ /\w/;
            $part = '';
        }
        else { $part .= $char unless $char =~ /\s/ }
    }
    return @paths;
}

my (%code, %home, %arrows);
for my $file (split /\n/, `find $src -name '*.rs' ! -path '$src/lib.rs' ! -path '$src/pages.rs' ! -path '$src/models/*' | sort`) {
    (my $module = $file) =~ s{^$src/|(/mod)?\.rs$}{}g;
    my @module = split m{/}, $module;
    my $folder = folder_of(join '::', @module);
    next if $module eq 'raw';
    complain("$file: its folder is not in the table") if $folder eq 'lib';
    my $text = $code{$file} = code_of($file);
    $home{$file} = $folder;

    $text =~ s/pub\(in crate::\w+\)//g;
    # `super` leads to the module around this file's.
    $text =~ s{\b((?:super::)+)}{
        my $up = () = $1 =~ /super/g;
        join '::', 'crate', @module[0 .. $#module - $up], ''
    }ge;
    my @paths;
    push @paths, paths_of('', $1) while $text =~ /\buse\s+crate::([^;]*);/g;
    $text =~ s/\buse\s+crate::[^;]*;//g;
    push @paths, $1 while $text =~ /\bcrate::([\w:]+)/g;
    for my $path (@paths) {
        my $to = folder_of($path);
        next if $to eq $folder;
        $used{$folder}{$to} = 1;
        $arrows{"$file names crate::$path"} = [ $folder, $to ] unless $may{$folder}{$to};
    }
}
complain("$_: $arrows{$_}[0] may not name $arrows{$_}[1]") for sort keys %arrows;

# A method is called without an import. Of a method whose name is defined in one folder only,
# the calls can be seen.
my %defined;
for my $file (keys %code) {
    $defined{$1}{ $home{$file} } = 1 while $code{$file} =~ /\bfn\s+(\w+)/g;
}
# Names that std's types have too.
my %common = map { $_ => 1 } qw(
    abs add as_ptr borrow build cancel capacity clear clone close cmp collect contains copied default
    drop elapsed entry eq execute expect extend fetch_add filter find finish flush fmt forget from get get_mut hash id
    insert into_inner is_empty is_finished iter join len listen load lock map max min name new
    next notify now park poll pop push read remove replace reset resume reverse run send set shutdown sleep spawn
    spin start stats store submit sum swap take then time timeout unpark update upgrade wait wake waker with
    within write yield_now
);
for my $file (sort keys %code) {
    my $folder = $home{$file};
    my %seen;
    while ($code{$file} =~ /\.(\w+)(?:::<[^>]*>)?\(/g) {
        my $name = $1;
        next if $common{$name} || $seen{$name}++;
        my @homes = keys %{ $defined{$name} // {} };
        next unless @homes == 1 && $homes[0] ne $folder;
        $used{$folder}{ $homes[0] } = 1;
        next if $may{$folder}{ $homes[0] };
        complain("$file calls $name of $homes[0]: $folder may not name it");
    }
}

# What nothing needs any more leaves the table.
for my $folder (@order) {
    next if $folder eq 'lib';
    for my $other (sort keys %{ $may{$folder} }) {
        complain("$folder need not name $other any more") unless $used{$folder}{$other};
    }
}
exit($bad ? 1 : 0);
