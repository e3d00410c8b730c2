namespace Saturn.Emulator.Ptx;

/// <summary>A piece of PTX text: a word (names, numbers, opcodes with their dots, strings with their quotes) or one character of punctuation.</summary>
internal readonly record struct PtxToken(string Text, int Line)
{
    public bool Is(char punctuation) => Text.Length == 1 && Text[0] == punctuation;

    public override string ToString() => Text;
}

/// <summary>Cuts PTX into tokens. Comments vanish.</summary>
internal static class PtxLexer
{
    public static List<PtxToken> Tokenize(ReadOnlySpan<char> text)
    {
        List<PtxToken> tokens = [];
        int line = 1;
        int i = 0;
        while (i < text.Length)
        {
            char c = text[i];
            if (c == '\n')
            {
                line++;
                i++;
            }
            else if (char.IsWhiteSpace(c) || c == '\0')
            {
                i++;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '/')
            {
                while (i < text.Length && text[i] != '\n')
                {
                    i++;
                }
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '*')
            {
                int end = text[i..].IndexOf("*/");
                end = end < 0 ? text.Length : i + end + 2;
                line += text[i..end].Count('\n');
                i = end;
            }
            else if (c == '"')
            {
                int end = i + 1;
                while (end < text.Length && text[end] != '"')
                {
                    end += text[end] == '\\' ? 2 : 1;
                }

                end = Math.Min(end + 1, text.Length);
                tokens.Add(new PtxToken(text[i..end].ToString(), line));
                i = end;
            }
            else if (IsWord(c))
            {
                int end = i + 1;
                while (end < text.Length && (IsWord(text[end]) || (text[end] == ':' && end + 2 < text.Length && text[end + 1] == ':' && IsWord(text[end + 2])) || (text[end] == ':' && text[end - 1] == ':')))
                {
                    end++;
                }

                tokens.Add(new PtxToken(text[i..end].ToString(), line));
                i = end;
            }
            else
            {
                tokens.Add(new PtxToken(c.ToString(), line));
                i++;
            }
        }

        return tokens;
    }

    private static bool IsWord(char c) => char.IsAsciiLetterOrDigit(c) || c is '_' or '$' or '%' or '.';
}
