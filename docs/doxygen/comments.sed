# Turns the comments of our headers into Doxygen's: the first block of a file becomes the file's,
# a line of its own belongs to what follows it, and one behind a declaration to that.
1 s#^// ?(.*)#/// \\file\n/// \1#
s#^( *)// ?([^/].*)?$#\1/// \2#
s#^(.*[;,{}]) +// (.*)#\1  ///< \2#
p
