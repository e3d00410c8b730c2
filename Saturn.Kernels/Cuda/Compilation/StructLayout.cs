using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>A field of a blittable struct. An inline array or a fixed buffer has a count, and elements of its own type.</summary>
internal readonly record struct StructField(string Name, Type Element, int ElementSize, int? Count, int Offset)
{
    public bool IsArray => Count is not null;

    public int Size => ElementSize * (Count ?? 1);
}

/// <summary>
/// Size and field offsets of a blittable struct, by the rules that C# and CUDA C++ share: fields in the order of declaration, each at a multiple of its alignment. The size is checked against the
/// runtime's.
/// </summary>
internal sealed class StructLayout
{
    // The strictest alignment that C# gives a field.
    private const int MostNatural = 8;

    private StructLayout(int size, int alignment, IReadOnlyList<StructField> fields)
    {
        Size = size;
        Alignment = alignment;
        Fields = fields;
    }

    public int Size { get; }

    public int Alignment { get; }

    public IReadOnlyList<StructField> Fields { get; }

    public static StructLayout Of(Type type)
    {
        StructLayoutAttribute declared = type.StructLayoutAttribute!;
        if (declared.Value == LayoutKind.Auto)
        {
            throw Unsuitable(type, "its layout is automatic; mark it [StructLayout(LayoutKind.Sequential)]");
        }

        List<StructField> fields = [];
        int end = 0;
        int alignment = 1;
        foreach (FieldInfo field in FieldsOf(type))
        {
            (Type element, int? count) = Elements(field);
            (int elementSize, int fieldAlignment) = Measure(type, field.Name, element);
            fieldAlignment = declared.Pack > 0 ? Math.Min(fieldAlignment, declared.Pack) : fieldAlignment;
            int offset = declared.Value == LayoutKind.Explicit ? field.GetCustomAttribute<FieldOffsetAttribute>()!.Value : RoundUp(end, fieldAlignment);
            if (fieldAlignment > MostNatural && offset != end)
            {
                throw Unsuitable(type, $"{field.Name} is aligned to {fieldAlignment} bytes in CUDA C++, which C# does not do at offset {end}; declare such fields first");
            }

            StructField member = new(NameOf(field), element, elementSize, count, offset);
            fields.Add(member);
            end = Math.Max(end, offset + member.Size);
            alignment = Math.Max(alignment, fieldAlignment);
        }

        if (fields.Count == 0)
        {
            throw Unsuitable(type, "it has no fields");
        }

        StructLayout layout = new(Math.Max(RoundUp(end, alignment), declared.Size), alignment, fields);
        int actual = RuntimeHelpers.SizeOf(type.TypeHandle);
        return layout.Size == actual ? layout : throw Unsuitable(type, $"it takes {actual} bytes where CUDA C++ takes {layout.Size}; if a field is aligned to more than 8 bytes, give the size in [StructLayout]");
    }

    /// <summary>Whether this is a struct around one pointer, which a <c>.cu</c> file may declare as a pointer.</summary>
    public static bool IsPointerInStruct(Type type) =>
        type is { IsValueType: true, IsPrimitive: false, IsEnum: false } && FieldsOf(type) is [{ FieldType: var only }] && (only.IsPointer || only == typeof(nint) || only == typeof(nuint));

    private static (Type Element, int? Count) Elements(FieldInfo field)
    {
        if (field.GetCustomAttribute<FixedBufferAttribute>() is { } buffer)
        {
            return (buffer.ElementType, buffer.Length);
        }

        return field.FieldType.GetCustomAttribute<InlineArrayAttribute>() is { } array
            ? (FieldsOf(field.FieldType)[0].FieldType, array.Length)
            : (field.FieldType, null);
    }

    private static (int Size, int Alignment) Measure(Type owner, string field, Type type)
    {
        if (type.IsPointer || type.IsFunctionPointer || type == typeof(nint) || type == typeof(nuint))
        {
            return (8, 8);
        }

        if (type.IsPrimitive || type.IsEnum)
        {
            // A char is not blittable everywhere, and CUDA C++ has no counterpart of its size.
            int size = type == typeof(char) ? throw Unsuitable(owner, $"{field} is a char") : RuntimeHelpers.SizeOf(type.TypeHandle);
            return (size, size);
        }

        if (!type.IsValueType || type == typeof(decimal) || type == typeof(Half) || type == typeof(Int128) || type == typeof(UInt128))
        {
            throw Unsuitable(owner, $"{field} is a {type.Name}");
        }

        if (type.GetCustomAttribute<InlineArrayAttribute>() is not null)
        {
            throw Unsuitable(owner, $"{field} is an array of arrays; use one with all elements");
        }

        StructLayout nested = Of(type);
        return (nested.Size, Math.Max(nested.Alignment, type.GetCustomAttribute<KernelAlignmentAttribute>()?.Bytes ?? 1));
    }

    // In order of declaration, which is the order of their tokens.
    [UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "Trimming keeps all fields of a struct with sequential or explicit layout.")]
    private static FieldInfo[] FieldsOf(Type type) =>
        [.. type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).OrderBy(field => field.MetadataToken)];

    // A positional record's field carries its property's name in brackets.
    private static string NameOf(FieldInfo field) => field.Name[0] == '<' ? field.Name[1..field.Name.IndexOf('>')] : field.Name;

    private static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;

    private static ArgumentException Unsuitable(Type type, string reason) =>
        new($"{type.Name} cannot be a kernel's arguments: {reason}. Expected fields of nint (for pointers), integers, float, double, bool, structs of those, inline arrays or fixed buffers.");
}
