using System.Globalization;

namespace Saturn.Emulator.Ptx;

/// <summary>
/// Reads the PTX that NVRTC writes (and small hand-written files). Permissive about directives that change nothing for execution; whatever is executed and not
/// understood is an error with its line.
/// </summary>
internal sealed class PtxParser
{
    private readonly PtxModule module;
    private readonly List<PtxToken> tokens;
    private int position;
    private (int File, int Line, (int, int) InlinedAt) location;

    private PtxParser(string text, string name)
    {
        module = new PtxModule { Name = name, Lines = text.Split('\n') };
        tokens = PtxLexer.Tokenize(text);
    }

    /// <exception cref="EmulatorException">The text is not PTX that the emulator reads; the message has the line.</exception>
    public static PtxModule Parse(string text, string name)
    {
        PtxParser parser = new(text, name);
        parser.ParseModule();
        return parser.module;
    }

    private bool AtEnd => position >= tokens.Count;

    private PtxToken Current => AtEnd ? throw Error("the text ends in the middle of a statement", tokens.Count == 0 ? 1 : tokens[^1].Line) : tokens[position];

    private PtxToken Next()
    {
        PtxToken token = Current;
        position++;
        return token;
    }

    private bool Accept(char punctuation)
    {
        if (!AtEnd && tokens[position].Is(punctuation))
        {
            position++;
            return true;
        }

        return false;
    }

    private void Expect(char punctuation)
    {
        PtxToken token = Next();
        if (!token.Is(punctuation))
        {
            throw Error($"expected '{punctuation}', found '{token}'", token.Line);
        }
    }

    private EmulatorException Error(string what, int line) =>
        new($"{module.Name}: PTX line {line}: {what}: {(line <= module.Lines.Length ? module.Lines[line - 1].Trim() : "")}", EmulatorException.InvalidPtx);

    private void SkipLine(int line)
    {
        while (!AtEnd && tokens[position].Line == line)
        {
            position++;
        }
    }

    private void SkipBraces()
    {
        int depth = 0;
        do
        {
            PtxToken token = Next();
            depth += token.Is('{') ? 1 : token.Is('}') ? -1 : 0;
        }
        while (depth > 0);
    }

    private void ParseModule()
    {
        while (!AtEnd)
        {
            PtxToken token = Next();
            switch (token.Text)
            {
                case ".version" or ".target" or ".address_size":
                    SkipLine(token.Line);
                    break;
                case ".file":
                    int number = int.Parse(Next().Text, CultureInfo.InvariantCulture);
                    module.Files[number] = Next().Text.Trim('"');
                    SkipLine(token.Line);
                    break;
                case ".section":
                    SkipLine(token.Line);
                    if (!AtEnd && Current.Is('{'))
                    {
                        SkipBraces();
                    }

                    break;
                case ".visible" or ".extern" or ".weak" or ";":
                    break;
                case ".entry":
                    ParseKernel();
                    break;
                case ".func":
                    ParseFunctionDeclaration(token.Line);
                    break;
                case ".global" or ".const" or ".shared":
                    module.Variables.Add(ParseVariable(token.Text, tokens[Math.Max(position - 2, 0)].Text == ".extern"));
                    break;
                default:
                    throw Error($"unexpected '{token}' outside a kernel", token.Line);
            }
        }

        PlaceVariables(module.Variables, PtxSpace.Global);
        PlaceVariables(module.Variables, PtxSpace.Constant);
    }

    // Only declarations of the driver's own functions (assertions, printing) occur: device functions are inlined by the compiler.
    private void ParseFunctionDeclaration(int line)
    {
        while (!Current.Is(';'))
        {
            if (Current.Is('{'))
            {
                throw Error("device functions that are not inlined are not covered: declare them __forceinline__", line);
            }

            position++;
        }

        position++;
    }

    private PtxVariable ParseVariable(string space, bool isExternal)
    {
        int alignment = 1;
        int elementBytes = 0;
        while (Current.Text[0] == '.')
        {
            PtxToken token = Next();
            if (token.Text == ".align")
            {
                alignment = int.Parse(Next().Text, CultureInfo.InvariantCulture);
            }
            else if (token.Text is not (".ptr" or ".attribute"))
            {
                elementBytes = TypeBytes(token.Text[1..], token.Line);
            }
        }

        PtxToken name = Next();
        int count = 1;
        while (Accept('['))
        {
            if (!Accept(']'))
            {
                count *= int.Parse(Next().Text, CultureInfo.InvariantCulture);
                Expect(']');
            }
            else
            {
                count = 0;
            }
        }

        byte[]? initial = null;
        if (Accept('='))
        {
            initial = ParseInitialValue(elementBytes, count);
        }

        Expect(';');
        return new PtxVariable(name.Text, SpaceOf(space), elementBytes * count, Math.Max(alignment, elementBytes), isExternal || count == 0) { Initial = initial };
    }

    private byte[] ParseInitialValue(int elementBytes, int count)
    {
        byte[] bytes = new byte[elementBytes * count];
        int offset = 0;
        bool isList = Accept('{');
        do
        {
            bool negative = Accept('-');
            long value = (long)PtxLiteral.Parse(Next().Text, out _);
            BitConverter.GetBytes(negative ? -value : value).AsSpan(0, elementBytes).CopyTo(bytes.AsSpan(offset));
            offset += elementBytes;
        }
        while (isList && Accept(','));
        if (isList)
        {
            Expect('}');
        }

        return bytes;
    }

    private static PtxSpace SpaceOf(string directive) => directive switch
    {
        ".global" => PtxSpace.Global,
        ".const" => PtxSpace.Constant,
        ".shared" => PtxSpace.Shared,
        ".local" => PtxSpace.Local,
        _ => PtxSpace.Parameter,
    };

    private int TypeBytes(string type, int line) => type switch
    {
        "b8" or "u8" or "s8" => 1,
        "b16" or "u16" or "s16" or "f16" or "bf16" => 2,
        "b32" or "u32" or "s32" or "f32" => 4,
        "b64" or "u64" or "s64" or "f64" => 8,
        "v2" or "v4" => throw Error("vector variables are not covered", line),
        _ => throw Error($"unknown type '.{type}'", line),
    };

    private static void PlaceVariables(IEnumerable<PtxVariable> variables, PtxSpace space)
    {
        int offset = 0;
        foreach (PtxVariable variable in variables.Where(variable => variable.Space == space).OrderBy(variable => variable.Bytes == 0))
        {
            offset = (offset + variable.Alignment - 1) / variable.Alignment * variable.Alignment;
            variable.Offset = offset;
            offset += variable.Bytes;
        }
    }

    private void ParseKernel()
    {
        PtxKernel kernel = new() { Name = Next().Text };
        if (Accept('('))
        {
            while (!Accept(')'))
            {
                kernel.Parameters.Add(ParseParameter());
                Accept(',');
            }
        }

        PlaceVariables(kernel.Parameters, PtxSpace.Parameter);
        while (!Current.Is('{'))
        {
            PtxToken token = Next();
            if (token.Text is ".maxntid" or ".reqntid")
            {
                int product = 1;
                do
                {
                    product *= int.Parse(Next().Text, CultureInfo.InvariantCulture);
                }
                while (Accept(','));
                kernel.MaximumThreads = product;
            }
        }

        ParseBody(kernel);
        foreach (PtxVariable variable in module.Variables.Where(variable => variable.Space == PtxSpace.Shared))
        {
            kernel.Variables.Add(variable with { });
        }

        PlaceVariables(kernel.Variables, PtxSpace.Shared);
        PlaceVariables(kernel.Variables, PtxSpace.Local);
        module.Kernels.Add(kernel);
    }

    private PtxVariable ParseParameter()
    {
        int alignment = 1;
        int bytes = 0;
        while (Current.Text[0] == '.')
        {
            PtxToken token = Next();
            if (token.Text == ".align")
            {
                alignment = int.Parse(Next().Text, CultureInfo.InvariantCulture);
            }
            else if (token.Text is not (".param" or ".ptr" or ".global"))
            {
                bytes = TypeBytes(token.Text[1..], token.Line);
            }
        }

        string name = Next().Text;
        alignment = Math.Max(alignment, bytes);
        if (Accept('['))
        {
            bytes *= int.Parse(Next().Text, CultureInfo.InvariantCulture);
            Expect(']');
        }

        return new PtxVariable(name, PtxSpace.Parameter, bytes, alignment, false);
    }

    private void ParseBody(PtxKernel kernel)
    {
        Expect('{');
        int depth = 1;
        location = default;
        while (depth > 0)
        {
            PtxToken token = Next();
            if (token.Is('{'))
            {
                depth++;
            }
            else if (token.Is('}'))
            {
                depth--;
            }
            else if (token.Is(';'))
            {
            }
            else if (token.Text[0] == '.')
            {
                ParseDirective(kernel, token);
            }
            else if (!AtEnd && Current.Is(':'))
            {
                position++;
                kernel.Labels[token.Text] = kernel.Instructions.Count;
                if (!AtEnd && Current.Text == ".branchtargets")
                {
                    position++;
                    kernel.BranchTargets[token.Text] = ParseNames();
                }
            }
            else
            {
                kernel.Instructions.Add(ParseInstruction(token));
            }
        }
    }

    private string[] ParseNames()
    {
        List<string> names = [];
        do
        {
            names.Add(Next().Text);
        }
        while (Accept(','));
        Expect(';');
        return [.. names];
    }

    private void ParseDirective(PtxKernel kernel, PtxToken token)
    {
        switch (token.Text)
        {
            case ".reg":
                ParseRegisters(kernel);
                break;
            case ".loc":
                ParseLocation(token.Line);
                break;
            case ".shared" or ".local":
                kernel.Variables.Add(ParseVariable(token.Text, false));
                break;
            case ".pragma":
                Next();
                Expect(';');
                break;
            default:
                throw Error($"directive '{token}' is not covered inside a kernel", token.Line);
        }
    }

    private void ParseRegisters(PtxKernel kernel)
    {
        string type = Next().Text[1..];
        do
        {
            string name = Next().Text;
            if (Accept('<'))
            {
                int count = int.Parse(Next().Text, CultureInfo.InvariantCulture);
                Expect('>');
                for (int i = 0; i < count; i++)
                {
                    Add(name + i.ToString(CultureInfo.InvariantCulture));
                }
            }
            else
            {
                Add(name);
            }
        }
        while (Accept(','));
        Expect(';');

        // Inline assembly may declare a name again in a block of its own; one register a name is enough, since such blocks never nest.
        void Add(string name)
        {
            if (!kernel.Registers.TryAdd(name, new PtxRegister(name, type)) && kernel.Registers[name].Type != type)
            {
                throw Error($"register {name} is declared as .{kernel.Registers[name].Type} and as .{type}", tokens[position - 1].Line);
            }
        }
    }

    private void ParseLocation(int line)
    {
        List<string> words = [];
        while (!AtEnd && tokens[position].Line == line)
        {
            words.Add(Next().Text);
        }

        int inlined = words.IndexOf("inlined_at");
        (int, int) at = inlined >= 0 && inlined + 2 < words.Count
            ? (int.Parse(words[inlined + 1], CultureInfo.InvariantCulture), int.Parse(words[inlined + 2], CultureInfo.InvariantCulture))
            : default;
        location = (int.Parse(words[0], CultureInfo.InvariantCulture), int.Parse(words[1], CultureInfo.InvariantCulture), at);
    }

    private PtxInstruction ParseInstruction(PtxToken first)
    {
        string? guard = null;
        bool negated = false;
        PtxToken opcode = first;
        if (first.Is('@'))
        {
            negated = Accept('!');
            guard = Next().Text;
            opcode = Next();
        }

        if (opcode.Text.StartsWith("call", StringComparison.Ordinal))
        {
            throw Error("calls are not covered: device functions must be inlined, and kernels must not print or assert", opcode.Line);
        }

        List<PtxOperand> operands = [];
        if (!Current.Is(';'))
        {
            do
            {
                operands.Add(ParseOperand());
            }
            while (Accept(','));
        }

        Expect(';');
        return new PtxInstruction
        {
            Guard = guard,
            GuardIsNegated = negated,
            Opcode = opcode.Text,
            Parts = opcode.Text.Split('.'),
            Operands = [.. operands],
            Line = opcode.Line,
            SourceFile = location.File,
            SourceLine = location.Line,
            InlinedAt = location.InlinedAt,
        };
    }

    private PtxOperand ParseOperand()
    {
        if (Accept('{'))
        {
            List<PtxOperand> elements = [];
            do
            {
                elements.Add(ParseOperand());
            }
            while (Accept(','));
            Expect('}');
            return new PtxOperand { Kind = PtxOperandKind.Vector, Elements = [.. elements] };
        }

        if (Accept('['))
        {
            string text = Next().Text;
            long offset = ParseOffset();
            if (char.IsAsciiDigit(text[0]))
            {
                offset += (long)PtxLiteral.Parse(text, out _);
                text = "";
            }

            // The coordinates of a tensor: [map, {x, y}].
            PtxOperand[] elements = Accept(',') ? ParseOperand().Elements : [];
            Expect(']');
            return new PtxOperand { Kind = PtxOperandKind.Address, Text = text, Offset = offset, Elements = elements };
        }

        bool negated = Accept('!') || Accept('-');
        PtxToken word = Next();
        long added = ParseOffset();
        string? second = Accept('|') ? Next().Text : null;
        return new PtxOperand { Kind = PtxOperandKind.Word, Text = word.Text, IsNegated = negated, Offset = added, Second = second };
    }

    private long ParseOffset()
    {
        long offset = 0;
        while (Accept('+'))
        {
            bool negative = Accept('-');
            long value = (long)PtxLiteral.Parse(Next().Text, out _);
            offset += negative ? -value : value;
        }

        return offset;
    }
}
