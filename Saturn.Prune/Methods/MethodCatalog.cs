using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;

namespace Saturn.Prune.Methods;

/// <summary>A setting of a method.</summary>
/// <param name="Name">As after <c>--set</c>.</param>
/// <param name="Description">Meaning and range.</param>
/// <param name="Default">The value without <c>--set</c>, in words.</param>
/// <param name="Property">The property behind it.</param>
public sealed record MethodSetting(string Name, string Description, string Default, PropertyInfo Property);

/// <summary>A method as the command line shows it.</summary>
/// <param name="Name">As after <c>--method</c>.</param>
/// <param name="Summary">One sentence.</param>
/// <param name="Source">The paper.</param>
/// <param name="Type">The class.</param>
/// <param name="Settings">Its settings.</param>
public sealed record MethodDescription(string Name, string Summary, string Source, Type Type, IReadOnlyList<MethodSetting> Settings);

/// <summary>
/// All pruning methods by name: every class with a <see cref="MethodAttribute"/> in this assembly and in the program's own. A method of one's own is one class in one file.
/// </summary>
public static class MethodCatalog
{
    private const string Kept = "ILLink.Descriptors.xml keeps all of this assembly; a program with methods of its own that is trimmed must keep those.";

    private static readonly SortedDictionary<string, MethodDescription> Known = Find();

    /// <summary>All methods, in the order of their names.</summary>
    public static IReadOnlyCollection<MethodDescription> Methods => Known.Values;

    /// <summary>A method by name.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists all.</exception>
    public static MethodDescription Describe(string name) =>
        Known.TryGetValue(name, out MethodDescription? description)
            ? description
            : throw new ArgumentException($"Unknown method '{name}'; known: {string.Join(", ", Known.Keys)}.");

    /// <summary>Creates a method with settings.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="settings">Values by setting, written as on the command line.</param>
    /// <exception cref="ArgumentException">The method or a setting is unknown, or a value does not fit.</exception>
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = Kept)]
    public static PruningMethod Create(string name, IReadOnlyDictionary<string, string>? settings = null)
    {
        MethodDescription description = Describe(name);
        PruningMethod method = (PruningMethod)Activator.CreateInstance(description.Type)!;
        foreach (var (setting, value) in settings ?? new Dictionary<string, string>())
        {
            MethodSetting known = description.Settings.FirstOrDefault(candidate => candidate.Name == setting)
                ?? throw new ArgumentException(description.Settings.Count == 0
                    ? $"The method {name} has no settings, so '{setting}' does not go with it."
                    : $"The method {name} has no setting '{setting}'; it has {string.Join(", ", description.Settings.Select(candidate => candidate.Name))}.");
            known.Property.SetValue(method, Parse(known, value));
        }

        method.Validate();
        return method;
    }

    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = Kept)]
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = Kept)]
    private static SortedDictionary<string, MethodDescription> Find()
    {
        SortedDictionary<string, MethodDescription> found = new(StringComparer.Ordinal);
        Assembly own = typeof(MethodCatalog).Assembly;
        foreach (Assembly assembly in new[] { own, Assembly.GetEntryAssembly() ?? own }.Distinct())
        {
            foreach (Type type in assembly.GetTypes())
            {
                if (type.GetCustomAttribute<MethodAttribute>() is { } attribute)
                {
                    found.Add(attribute.Name, new MethodDescription(attribute.Name, attribute.Summary, attribute.Source, type, Settings(type)));
                }
            }
        }

        return found;
    }

    [UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Kept)]
    [UnconditionalSuppressMessage("Trimming", "IL2067", Justification = Kept)]
    private static List<MethodSetting> Settings(Type type)
    {
        if (type.GetConstructor(Type.EmptyTypes) is null)
        {
            throw new InvalidOperationException($"{type.FullName} is a method by its attribute, but has no public constructor without parameters.");
        }

        using PruningMethod defaults = (PruningMethod)Activator.CreateInstance(type)!;
        List<MethodSetting> settings = [];
        foreach (PropertyInfo property in type.GetProperties().OrderBy(property => property.MetadataToken))
        {
            if (property.GetCustomAttribute<SettingAttribute>() is { } attribute)
            {
                object? value = property.GetValue(defaults);
                string written = value is Enum ? value.ToString()!.ToLowerInvariant() : Convert.ToString(value, CultureInfo.InvariantCulture) ?? "none";
                settings.Add(new MethodSetting(attribute.Name, attribute.Description, value is bool flag ? (flag ? "on" : "off") : written, property));
            }
        }

        return settings;
    }

    private static object Parse(MethodSetting setting, string value)
    {
        Type type = Nullable.GetUnderlyingType(setting.Property.PropertyType) ?? setting.Property.PropertyType;
        if (type == typeof(double) && double.TryParse(value, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number))
        {
            return number;
        }

        if (type == typeof(int) && int.TryParse(value, CultureInfo.InvariantCulture, out int integer))
        {
            return integer;
        }

        if (type == typeof(bool) && value is "on" or "off" or "true" or "false")
        {
            return value is "on" or "true";
        }

        if (type.IsEnum && Enum.GetNames(type).FirstOrDefault(name => string.Equals(name, value, StringComparison.OrdinalIgnoreCase)) is { } known)
        {
            return Enum.Parse(type, known);
        }

        string expected = type == typeof(bool) ? "on or off"
            : type.IsEnum ? "one of " + string.Join(", ", Enum.GetNames(type).Select(name => name.ToLowerInvariant()))
            : type == typeof(int) ? "a whole number" : "a number";
        throw new ArgumentException($"The setting {setting.Name} must be {expected}, but is '{value}'.");
    }
}
