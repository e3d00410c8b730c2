using System.Collections.Concurrent;
using System.Text;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// CUDA C++ text that asserts that a struct of a <c>.cu</c> file is laid out as the C# struct of the same name: its size, and each field's type and offset. NVRTC has no <c>offsetof</c>;
/// <c>__INTADDR__</c> of a member of a null pointer is its constant.
/// </summary>
internal static class KernelLayout
{
    // A struct, class or union is 0. The bounds of an array do not matter, its size and its elements' kind do.
    private const string Prelude =
        """

        #line 1 "layout checks"
        namespace saturn_layout
        {
        template <class T> struct Kind { enum { value = __is_enum(T) ? 1 : 0 }; };
        template <class T> struct Kind<const T> : Kind<T> {};
        template <class T, unsigned long long count> struct Kind<T[count]> : Kind<T> {};
        template <class T, unsigned long long count> struct Kind<const T[count]> : Kind<T> {};
        template <class T> struct Kind<T*> { enum { value = 2 }; };
        template <class T> struct Kind<T* __restrict__> { enum { value = 2 }; };
        template <> struct Kind<float> { enum { value = 3 }; };
        template <> struct Kind<double> { enum { value = 3 }; };
        template <> struct Kind<bool> { enum { value = 4 }; };
        template <> struct Kind<char> { enum { value = 5 }; };
        template <> struct Kind<signed char> { enum { value = 5 }; };
        template <> struct Kind<short> { enum { value = 5 }; };
        template <> struct Kind<int> { enum { value = 5 }; };
        template <> struct Kind<long> { enum { value = 5 }; };
        template <> struct Kind<long long> { enum { value = 5 }; };
        template <> struct Kind<unsigned char> { enum { value = 6 }; };
        template <> struct Kind<unsigned short> { enum { value = 6 }; };
        template <> struct Kind<unsigned int> { enum { value = 6 }; };
        template <> struct Kind<unsigned long> { enum { value = 6 }; };
        template <> struct Kind<unsigned long long> { enum { value = 6 }; };
        template <class T> struct IsArray { enum { value = 0 }; };
        template <class T, unsigned long long count> struct IsArray<T[count]> { enum { value = 1 }; };
        template <class T> struct Element { using type = T; };
        template <class T, unsigned long long count> struct Element<T[count]> : Element<T> {};
        }

        """;

    private static readonly ConcurrentDictionary<Type, string> Known = [];

    private enum Kind
    {
        Struct = 0,
        Enumeration = 1,
        Pointer = 2,
        Real = 3,
        Boolean = 4,
        Signed = 5,
        Unsigned = 6,
    }

    /// <summary>The text for all structs of a file; empty where there are none.</summary>
    public static string Checks(IReadOnlyList<Type> types) =>
        types.Count == 0 ? "" : Prelude + string.Concat(types.Select(type => $"#line 1 \"{FileName(type)}\"\n{Lines(type)}"));

    /// <summary>The file name under which messages show a struct's checks.</summary>
    public static string FileName(Type type) => $"{type.Name} in C#";

    /// <summary>The checks of one struct, a line each.</summary>
    public static string Lines(Type type) => Known.GetOrAdd(type, static type => StructChecks(type));

    private static string StructChecks(Type type)
    {
        if (!type.IsValueType || type.IsPrimitive || type.IsEnum || type.IsGenericType)
        {
            throw new ArgumentException($"{type} cannot be a kernel's arguments: expected a plain struct.");
        }

        StructLayout layout = StructLayout.Of(type);
        StringBuilder text = new();
        Append(text, type.Name, "", "", layout, 0);
        text.Append($"static_assert(sizeof({type.Name}) == {layout.Size}, \"{type.Name}: C# has {layout.Size} bytes; the .cu file's struct has more or fewer fields, or fields of other types\");\n");
        return text.ToString();
    }

    private static void Append(StringBuilder text, string root, string cudaPath, string sharpPath, StructLayout layout, int start)
    {
        foreach (StructField field in layout.Fields)
        {
            string cuda = cudaPath + char.ToLowerInvariant(field.Name[0]) + field.Name[1..];
            string sharp = sharpPath + field.Name;
            string member = $"(({root}*)0)->{cuda}";
            string name = $"{root}.{cuda}";
            (Kind kind, string description) = Classify(field.Element);
            string elements = $"saturn_layout::Kind<decltype({member})>::value";
            string matches = kind switch
            {
                _ when StructLayout.IsPointerInStruct(field.Element) => $"({elements} == {(int)Kind.Pointer} || {elements} == {(int)Kind.Struct})",
                Kind.Signed or Kind.Unsigned when field.Element.IsEnum => $"({elements} == {(int)kind} || {elements} == {(int)Kind.Enumeration})",
                _ => $"{elements} == {(int)kind}",
            };
            string shape = field.IsArray ? $"an array of {field.Count} × {description}" : description;
            string element = $"sizeof(saturn_layout::Element<decltype({member})>::type) == {field.ElementSize}";
            text.Append(
                $"static_assert({matches} && {element} && saturn_layout::IsArray<decltype({member})>::value == {(field.IsArray ? 1 : 0)} && sizeof({member}) == {field.Size}, " +
                $"\"{name}: C# has {sharp} as {shape}, {field.Size} bytes; the .cu file's type differs\");\n");
            text.Append(
                $"static_assert(__INTADDR__(&({member})) == {start + field.Offset}, \"{name}: C# has {sharp} at offset {start + field.Offset}; declare the fields in the same order\");\n");
            if (kind == Kind.Struct && !field.IsArray && !StructLayout.IsPointerInStruct(field.Element))
            {
                Append(text, root, cuda + ".", sharp + ".", StructLayout.Of(field.Element), start + field.Offset);
            }
            else if (kind == Kind.Struct && field.IsArray)
            {
                Append(text, root, cuda + "[0].", sharp + "[0].", StructLayout.Of(field.Element), start + field.Offset);
            }
        }
    }

    private static (Kind Kind, string Description) Classify(Type type)
    {
        if (type.IsPointer || type.IsFunctionPointer || type == typeof(nint) || type == typeof(nuint))
        {
            return (Kind.Pointer, "a pointer");
        }

        return Type.GetTypeCode(type) switch
        {
            TypeCode.Single => (Kind.Real, "float"),
            TypeCode.Double => (Kind.Real, "double"),
            TypeCode.Boolean => (Kind.Boolean, "bool"),
            TypeCode.SByte => (Kind.Signed, "signed char"),
            TypeCode.Int16 => (Kind.Signed, "short"),
            TypeCode.Int32 => (Kind.Signed, "int"),
            TypeCode.Int64 => (Kind.Signed, "long long"),
            TypeCode.Byte => (Kind.Unsigned, "unsigned char"),
            TypeCode.UInt16 => (Kind.Unsigned, "unsigned short"),
            TypeCode.UInt32 => (Kind.Unsigned, "unsigned int"),
            TypeCode.UInt64 => (Kind.Unsigned, "unsigned long long"),
            _ => (Kind.Struct, $"the struct {type.Name}"),
        };
    }
}
