using System.Globalization;
using System.Text;

namespace Saturn.Tests.Emulator;

/// <summary>
/// One instruction (or the few that it needs) with literal inputs and outputs, lane by lane, read from a <c>.ptx</c> fragment:
/// <code>
/// // test add.s32
/// // in  a s32  1 -1
/// // in  b s32  2  5
/// // out d s32  3  4
/// add.s32 d, a, b;
/// </code>
/// Lanes beyond the listed values repeat the last one. Names are registers of the type given; <c>~1e-6</c> before the values of an output allows that relative
/// error. <c>shared N</c> declares N bytes of shared memory named <c>memory</c>; <c>threads N</c> makes a block of N threads, which count as lanes.
/// </summary>
public sealed class InstructionCase
{
    private const int WarpThreads = 32;

    public sealed record Value(string Name, string Type, double Tolerance, string[] Literals)
    {
        public string Literal(int lane) => Literals[Math.Min(lane, Literals.Length - 1)];

        /// <summary>Bytes of one lane in the arrays of inputs and outputs.</summary>
        public int Bytes => Type is "b64" or "u64" or "s64" or "f64" ? 8 : 4;
    }

    private readonly StringBuilder body = new();

    public required string Name { get; init; }

    public List<Value> Inputs { get; } = [];

    public List<Value> Outputs { get; } = [];

    public int SharedBytes { get; private set; }

    /// <summary>Threads of the block: a warp's, unless the case says otherwise.</summary>
    public int Threads { get; private set; } = WarpThreads;

    public override string ToString() => Name;

    public static IEnumerable<InstructionCase> ReadAll(string folder)
    {
        foreach (string path in Directory.EnumerateFiles(folder, "*.ptx").Order(StringComparer.Ordinal))
        {
            InstructionCase? current = null;
            foreach (string line in File.ReadLines(path))
            {
                string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (words is ["//", "test", .. var name])
                {
                    if (current is not null)
                    {
                        yield return current;
                    }

                    current = new InstructionCase { Name = $"{Path.GetFileNameWithoutExtension(path)}: {string.Join(' ', name)}" };
                }
                else if (words is ["//", "in", var input, var inputType, .. var inputs])
                {
                    current!.Inputs.Add(new Value(input, inputType, 0, inputs));
                }
                else if (words is ["//", "out", var output, var outputType, .. var outputs])
                {
                    bool tolerant = outputs[0][0] == '~';
                    double tolerance = tolerant ? double.Parse(outputs[0][1..], CultureInfo.InvariantCulture) : 0;
                    current!.Outputs.Add(new Value(output, outputType, tolerance, tolerant ? outputs[1..] : outputs));
                }
                else if (words is ["//", "shared", var bytes])
                {
                    current!.SharedBytes = int.Parse(bytes, CultureInfo.InvariantCulture);
                }
                else if (words is ["//", "threads", var threads])
                {
                    current!.Threads = int.Parse(threads, CultureInfo.InvariantCulture);
                }
                else if (words.Length > 0 && words[0] != "//")
                {
                    current!.body.AppendLine(line);
                }
            }

            yield return current!;
        }
    }

    /// <summary>A whole module around the instruction: every lane loads its inputs, executes, and stores its outputs. One pointer an input and an output.</summary>
    /// <param name="target">The PTX version and architecture, such as <c>7.0</c> and <c>sm_80</c>.</param>
    public string ToPtx((string Version, string Architecture) target)
    {
        StringBuilder text = new();
        text.AppendLine($".version {target.Version}").AppendLine($".target {target.Architecture}").AppendLine(".address_size 64").AppendLine();
        text.Append(".visible .entry instruction(");
        text.AppendJoin(", ", Enumerable.Range(0, Inputs.Count + Outputs.Count).Select(i => $".param .u64 pointer{i}")).AppendLine(")").AppendLine("{");
        text.AppendLine(".reg .b64 %address;").AppendLine(".reg .b64 %offset;").AppendLine(".reg .b32 %lane;").AppendLine(".reg .b32 %word;");
        foreach (Value value in Inputs.Concat(Outputs).DistinctBy(value => value.Name))
        {
            text.AppendLine($".reg .{RegisterType(value.Type)} {value.Name};");
        }

        if (SharedBytes > 0)
        {
            text.AppendLine($".shared .align 1024 .b8 memory[{SharedBytes}];");
        }

        text.AppendLine("mov.u32 %lane, %tid.x;");
        for (int i = 0; i < Inputs.Count; i++)
        {
            Address(i, Inputs[i]);
            text.AppendLine(Inputs[i].Type switch
            {
                "pred" => $"ld.global.u32 %word, [%address];{Environment.NewLine}setp.ne.u32 {Inputs[i].Name}, %word, 0;",
                _ when IsShort(Inputs[i].Type) => $"ld.global.u16 {Inputs[i].Name}, [%address];",
                _ => $"ld.global.b{8 * Inputs[i].Bytes} {Inputs[i].Name}, [%address];",
            });
        }

        text.Append(body);
        for (int i = 0; i < Outputs.Count; i++)
        {
            Address(Inputs.Count + i, Outputs[i]);
            text.AppendLine(Outputs[i].Type switch
            {
                "pred" => $"selp.u32 %word, 1, 0, {Outputs[i].Name};{Environment.NewLine}st.global.u32 [%address], %word;",
                _ when IsShort(Outputs[i].Type) => $"cvt.u32.u16 %word, {Outputs[i].Name};{Environment.NewLine}st.global.u32 [%address], %word;",
                _ => $"st.global.b{8 * Outputs[i].Bytes} [%address], {Outputs[i].Name};",
            });
        }

        return text.AppendLine("ret;").AppendLine("}").ToString();

        void Address(int index, Value value)
        {
            text.AppendLine($"ld.param.u64 %address, [pointer{index}];").AppendLine($"mul.wide.u32 %offset, %lane, {value.Bytes};").AppendLine("add.u64 %address, %address, %offset;");
        }
    }

    /// <summary>A lane's value as bits.</summary>
    public static ulong Bits(string literal, string type)
    {
        bool negative = literal[0] == '-';
        string digits = negative ? literal[1..] : literal;
        if (digits.StartsWith("0x", StringComparison.Ordinal))
        {
            ulong bits = ulong.Parse(digits.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            return negative ? 0 - bits : bits;
        }

        return type switch
        {
            "f32" => BitConverter.SingleToUInt32Bits(float.Parse(Number(literal), CultureInfo.InvariantCulture)),
            "f64" => BitConverter.DoubleToUInt64Bits(double.Parse(Number(literal), CultureInfo.InvariantCulture)),
            "f16" => BitConverter.HalfToUInt16Bits(Half.Parse(Number(literal), CultureInfo.InvariantCulture)),
            "s64" => (ulong)long.Parse(literal, CultureInfo.InvariantCulture),
            "u64" or "b64" => ulong.Parse(literal, CultureInfo.InvariantCulture),
            "s16" => (ushort)short.Parse(literal, CultureInfo.InvariantCulture),
            "s32" => (uint)int.Parse(literal, CultureInfo.InvariantCulture),
            _ => uint.Parse(literal, CultureInfo.InvariantCulture),
        };
    }

    private static string Number(string literal) => literal switch { "inf" => "Infinity", "-inf" => "-Infinity", "nan" => "NaN", _ => literal };

    private static bool IsShort(string type) => type is "b16" or "u16" or "s16" or "f16";

    private static string RegisterType(string type) => type == "f16" ? "b16" : type;
}
